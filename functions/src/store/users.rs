//! Users, and the owners of handles.
//!
//! A user gets a handle with the first write. The handle changes at a write whose token has another
//! one that the user has chosen (see [`Identity::handle_is_chosen`]) and that is free. Handles in a
//! token that were not chosen change nothing, because tokens of one user may differ in them.
//!
//! The former handle stays reserved for 30 days, the longest life of an activity: it resolves to
//! the user, and its notifications are theirs. The handle cannot change again in that time, so a
//! user holds two handles at most. Other items hold the user's key, so a change of the handle
//! changes nothing else.
//!
//! No function deletes a user. An operator may, by deleting the item; lists then show the user as
//! gone, and the next write of the same identity creates the user again.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::{
    Consistency, Count, Item, Key, StoreError, Table, Update, Write,
    codec::{self, Recipient},
    idempotency, keys, pages,
};
use crate::domain::{Bio, DisplayName, Handle, Identity, People, User, UserKey, Written, mentions};

/// Most attempts of a first write, when other writes of the same user come between.
const MAX_ATTEMPTS: usize = 5;

/// How long a former handle is reserved: the longest life of an activity.
const FORMER_HANDLE_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(Serialize, Deserialize)]
struct UserAttributes {
    key: UserKey,
    handle: Handle,
    display_name: DisplayName,
    bio: Option<Bio>,
}

/// The handle that a user had before.
#[derive(Serialize, Deserialize)]
struct Former {
    handle: Handle,
}

#[derive(Serialize, Deserialize)]
struct Owner {
    user: UserKey,
}

/// The user of this identity, who is created on the first write.
///
/// A user keeps their handle if the one in the token belongs to another user. `None` for a new user
/// whose handle is taken.
pub async fn get_or_create(
    table: &dyn Table,
    identity: &Identity,
    now: Timestamp,
) -> Result<Option<User>, StoreError> {
    for _ in 0..MAX_ATTEMPTS {
        let Ownership { known, owner, former } = find(table, identity, now).await?;
        let is_taken = owner.is_some_and(|owner| owner != identity.key);
        let is_owner = owner.is_some() && !is_taken;
        let changes = identity.handle_is_chosen && former.is_none() && !is_taken;
        let (user, mut writes) = match known {
            Some(user) if user.handle == identity.handle || !changes => return Ok(Some(user)),
            Some(user) => renamed(user, identity, now)?,
            None if is_taken => return Ok(None),
            None => made(identity)?,
        };
        let owner = owner_item(&identity.handle, identity.key, None)?;
        writes.push(match is_owner {
            true => Write::Upsert(owner), // of a user who was deleted
            false => Write::Insert(owner),
        });
        match table.transact_write(&writes, now).await {
            Err(StoreError::ConditionsFailed { .. }) => {} // another write was faster: look again
            done => return done.map(|()| Some(user)),
        }
    }
    let source = "others keep changing the user".into();
    Err(StoreError::Busy { operation: "get_or_create", code: None, source })
}

/// The handles at which this identity is notified: the user's, and the former one while it is
/// reserved. Before the first write it is the one in the token.
///
/// `None` if that handle belongs to another user.
pub async fn handles_of(
    table: &dyn Table,
    identity: &Identity,
    now: Timestamp,
) -> Result<Option<Vec<Handle>>, StoreError> {
    let Ownership { known, owner, former } = find(table, identity, now).await?;
    Ok(match (known, owner) {
        (Some(user), _) => Some([user.handle].into_iter().chain(former).collect()),
        (None, Some(owner)) if owner != identity.key => None,
        (None, _) => Some(vec![identity.handle.clone()]),
    })
}

/// The user with this handle, or with this former handle while it is reserved.
pub async fn by_handle(
    table: &dyn Table,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<User>, StoreError> {
    let owner = table.get(&[keys::handle(handle)], Consistency::Strong, now).await?.pop().flatten();
    let Some(owner) = owner.map(read_owner).transpose()? else { return Ok(None) };
    let user = table.get(&[keys::user(owner)], Consistency::Strong, now).await?.pop().flatten();
    user.map(read_user).transpose()
}

/// The user with this handle, as [`by_handle`] finds them, and how much they have published.
pub async fn profile(
    table: &dyn Table,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<(User, Written)>, StoreError> {
    let owner = table.get(&[keys::handle(handle)], Consistency::Strong, now).await?.pop().flatten();
    let Some(owner) = owner.map(read_owner).transpose()? else { return Ok(None) };
    let keys = [keys::user(owner), keys::written(owner)];
    let mut read = table.get(&keys, Consistency::Strong, now).await?.into_iter();
    let mut next = || read.next().flatten();
    let user = next().map(read_user).transpose()?;
    let written = next().map(codec::attributes::<Written>).transpose()?.unwrap_or_default();
    Ok(user.map(|user| (user, written)))
}

/// The write that counts a published text, for the transaction that publishes it.
pub(super) fn count_written(author: UserKey, counter: &'static str) -> Write {
    let (key, add) = (keys::written(author), vec![(counter, 1)]);
    Write::Count(Count { key, add, below: None, expires_at_seconds: None })
}

/// The names of the users with these keys, for one page. One read.
pub async fn people(
    table: &dyn Table,
    users: BTreeSet<UserKey>,
    now: Timestamp,
) -> Result<People, StoreError> {
    let users = users.into_iter().filter(|user| *user != UserKey::gone());
    let keys: Vec<Key> = users.map(keys::user).collect();
    let items = pages::pointed_to(table, &keys, now).await?;
    Ok(People::new(pages::readable(items, read_user)))
}

/// Where the mentions in a text go. One read, of the owners of the handles.
pub async fn mentioned(
    table: &dyn Table,
    text: &str,
    now: Timestamp,
) -> Result<BTreeSet<Recipient>, StoreError> {
    let handles = mentions(text);
    let keys: Vec<Key> = handles.iter().map(keys::handle).collect();
    let owners = table.get(&keys, Consistency::Eventual, now).await?.into_iter();
    let recipient = |(owner, handle): (Option<Item>, Handle)| {
        Ok(match owner.map(read_owner).transpose()? {
            Some(user) => Recipient::User(user),
            None => Recipient::Handle(handle),
        })
    };
    owners.zip(handles).map(recipient).collect()
}

/// Replaces what a user says about themselves; `bio` only if there is one to replace it with, be it
/// none.
pub async fn update_profile(
    table: &dyn Table,
    user: UserKey,
    display_name: &DisplayName,
    bio: Option<&Option<Bio>>,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut set = Map::from_iter([("display_name".to_owned(), json!(display_name))]);
    set.extend(bio.map(|bio| ("bio".to_owned(), json!(bio))));
    let update =
        Write::Update(Update { key: keys::user(user), add: Vec::new(), set, listing: None });
    idempotency::write_once(table, vec![update], answered, now).await
}

/// The user of an identity, and the handles around it.
struct Ownership {
    known: Option<User>,
    /// The owner of the handle in the token.
    owner: Option<UserKey>,
    /// The handle that the user had before.
    former: Option<Handle>,
}

async fn find(
    table: &dyn Table,
    identity: &Identity,
    now: Timestamp,
) -> Result<Ownership, StoreError> {
    let Identity { key, handle, .. } = identity;
    let key = *key;
    let keys = [keys::user(key), keys::handle(handle), keys::former_handle(key)];
    let mut read = table.get(&keys, Consistency::Strong, now).await?.into_iter();
    let mut next = || read.next().flatten();
    let mut found = Ownership {
        known: next().map(read_user).transpose()?,
        owner: next().map(read_owner).transpose()?,
        former: next().map(codec::attributes::<Former>).transpose()?.map(|former| former.handle),
    };
    // The three are not read at one moment: a change came in between.
    if found.former.is_some()
        && found.known.as_ref().map(|user| &user.handle) == found.former.as_ref()
    {
        let user = table.get(&[keys::user(key)], Consistency::Strong, now).await?.pop().flatten();
        found.known = user.map(read_user).transpose()?;
    }
    Ok(found)
}

fn read_owner(item: Item) -> Result<UserKey, StoreError> {
    codec::attributes::<Owner>(item).map(|owner| owner.user)
}

fn owner_item(
    handle: &Handle,
    user: UserKey,
    until: Option<Timestamp>,
) -> Result<Item, StoreError> {
    codec::with_attributes(keys::handle(handle), until, &Owner { user })
}

fn made(identity: &Identity) -> Result<(User, Vec<Write>), StoreError> {
    let handle = identity.handle.clone();
    // A handle is longer than a name may be, so it is cut.
    let short: String = handle.as_str().chars().take(64).collect();
    let key = keys::user(identity.key);
    let display_name = match &identity.name {
        Some(name) => name.clone(),
        None => DisplayName::parse(&short).map_err(|error| codec::corrupt(&key, error))?,
    };
    let user = User { key: identity.key, handle, display_name, bio: None };
    let attributes = UserAttributes {
        key: user.key,
        handle: user.handle.clone(),
        display_name: user.display_name.clone(),
        bio: None,
    };
    let item = codec::with_attributes(key, None, &attributes)?;
    Ok((user, vec![Write::Insert(item)]))
}

/// The user under the new handle, with the old one kept for a while.
fn renamed(
    user: User,
    identity: &Identity,
    now: Timestamp,
) -> Result<(User, Vec<Write>), StoreError> {
    let update = Write::Update(Update {
        key: keys::user(user.key),
        add: Vec::new(),
        set: Map::from_iter([("handle".to_owned(), json!(identity.handle))]),
        listing: None,
    });
    let until = Some(now + FORMER_HANDLE_KEPT);
    let former = Former { handle: user.handle.clone() };
    // Of two changes at once the second finds this one, and makes none.
    let former =
        Write::Insert(codec::with_attributes(keys::former_handle(user.key), until, &former)?);
    let kept = Write::Upsert(owner_item(&user.handle, user.key, until)?);
    Ok((User { handle: identity.handle.clone(), ..user }, vec![update, former, kept]))
}

fn read_user(item: Item) -> Result<User, StoreError> {
    let UserAttributes { key, handle, display_name, bio } = codec::attributes(item)?;
    Ok(User { key, handle, display_name, bio })
}
