//! Users, and whose a handle is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Item, StoreError, Table, Update, Write, items, keys};
use crate::domain::{Bio, DisplayName, Handle, Identity, User, UserKey};

/// How often a first write is tried when others of the same user get in between. Our choice.
const MAX_ATTEMPTS: usize = 5;

#[derive(Serialize, Deserialize)]
struct Attributes {
    key: UserKey,
    uuid: Uuid,
    handle: Handle,
    display_name: DisplayName,
    bio: Option<Bio>,
}

#[derive(Serialize, Deserialize)]
struct Owner {
    user: UserKey,
}

/// The user with this identity, made now if this is the first time that they write.
///
/// `None` if somebody else has the handle. Who has got another handle since the last time keeps the
/// old one too, so that nobody else speaks under it.
pub async fn ensure(
    table: &dyn Table,
    identity: &Identity,
    now: Timestamp,
) -> Result<Option<User>, StoreError> {
    for _ in 0..MAX_ATTEMPTS {
        let keys = [keys::user(&identity.key), keys::handle(&identity.handle)];
        let mut found = table.get(&keys, now).await?.into_iter();
        let known = found.next().flatten().map(read_user).transpose()?;
        let owner = found.next().flatten().map(items::attributes::<Owner>).transpose()?;
        let free = match &owner {
            None => true,
            Some(owner) if owner.user == identity.key => false,
            Some(_) => return Ok(None),
        };
        let (user, mut writes) = match known {
            Some(user) if user.handle == identity.handle => (user, Vec::new()),
            Some(user) => renamed(user, identity),
            None => made(identity)?,
        };
        if free {
            let owner = Owner { user: identity.key.clone() };
            writes.push(Write::Create(items::item(keys::handle(&identity.handle), None, &owner)?));
        }
        match table.transact_write(&writes, now).await {
            Err(StoreError::ConditionsFailed { .. }) => {} // somebody was quicker: look again
            done => return done.map(|()| Some(user)),
        }
    }
    Err(StoreError::Busy { operation: "ensure", source: "others keep changing the user".into() })
}

/// Whether this identity may read what belongs to its handle: somebody else may have it.
pub async fn may_use_handle(
    table: &dyn Table,
    identity: &Identity,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let owner = owner_of(table, &identity.handle, now).await?;
    Ok(owner.is_none_or(|owner| owner == identity.key))
}

/// The user who has this handle.
pub async fn by_handle(
    table: &dyn Table,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<User>, StoreError> {
    let Some(owner) = owner_of(table, handle, now).await? else { return Ok(None) };
    let user = table.get(&[keys::user(&owner)], now).await?.pop().flatten();
    user.map(read_user).transpose()
}

/// Replaces what a user says about themselves.
pub async fn update_profile(
    table: &dyn Table,
    user: &User,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let set = json!({"display_name": user.display_name, "bio": user.bio});
    let update = Write::Update(Update {
        key: keys::user(&user.key),
        add: Vec::new(),
        set: set.as_object().cloned().unwrap_or_default(),
        listing: None,
    });
    items::write_once(table, vec![update], answered, now).await
}

async fn owner_of(
    table: &dyn Table,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<UserKey>, StoreError> {
    let item = table.get(&[keys::handle(handle)], now).await?.pop().flatten();
    Ok(item.map(items::attributes::<Owner>).transpose()?.map(|owner| owner.user))
}

fn made(identity: &Identity) -> Result<(User, Vec<Write>), StoreError> {
    let handle = identity.handle.clone();
    // A handle is longer than a name may be, so it is cut.
    let short: String = handle.as_str().chars().take(64).collect();
    let key = keys::user(&identity.key);
    let display_name = match &identity.name {
        Some(name) => name.clone(),
        None => DisplayName::parse(&short).map_err(|error| items::corrupt(&key, error))?,
    };
    let user =
        User { key: identity.key.clone(), uuid: Uuid::new_v4(), handle, display_name, bio: None };
    let attributes = Attributes {
        key: user.key.clone(),
        uuid: user.uuid,
        handle: user.handle.clone(),
        display_name: user.display_name.clone(),
        bio: None,
    };
    let item = items::item(key, None, &attributes)?;
    Ok((user, vec![Write::Create(item)]))
}

fn renamed(user: User, identity: &Identity) -> (User, Vec<Write>) {
    let set = json!({"handle": identity.handle});
    let update = Write::Update(Update {
        key: keys::user(&user.key),
        add: Vec::new(),
        set: set.as_object().cloned().unwrap_or_default(),
        listing: None,
    });
    (User { handle: identity.handle.clone(), ..user }, vec![update])
}

fn read_user(item: Item) -> Result<User, StoreError> {
    let Attributes { key, uuid, handle, display_name, bio } = items::attributes(item)?;
    Ok(User { key, uuid, handle, display_name, bio })
}
