//! Conversations of two, and their messages. Only the two are members, and only members read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Index, Item, Key, StoreError, Table, Update, Write,
    items::{self, Listed, PageRequest},
    keys,
};
use crate::domain::{
    DisplayName, Handle, LongText, Message, MessageGroup, User, UserKey, conversation_uuid,
};

/// How often a message is tried when others get in between: one may have begun the conversation, a
/// newer one may then have come first, and behind that nothing is in the way.
const MAX_ATTEMPTS: usize = 3;

/// The other one in a conversation, as far as a message to them needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Participant {
    /// Their key.
    pub key: UserKey,
    /// Their handle.
    pub handle: Handle,
    /// How they want to be called.
    pub display_name: DisplayName,
}

/// One of the two in a conversation; holds what that one sees of the other.
#[derive(Serialize, Deserialize)]
struct Member {
    other: UserKey,
    handle: Handle,
    display_name: DisplayName,
    message: LongText,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct MessageAttributes {
    group_uuid: Uuid,
    handle: Handle,
    display_name: DisplayName,
    message: LongText,
}

/// The conversations of a user, the one with the newest message first. One query.
pub async fn groups(
    table: &dyn Table,
    user: &UserKey,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<MessageGroup>, StoreError> {
    let partition = keys::groups_partition(user);
    items::newest(table, Some(Index::Listing), partition, page, now).await?.try_map(|item| {
        let uuid = items::parsed_key(&item, keys::parse_member)?;
        let Member { handle, display_name, message, created_at, .. } = items::attributes(item)?;
        Ok(MessageGroup { uuid, handle, display_name, message, created_at })
    })
}

/// The other one in a conversation of `user`; `None` if there is no such conversation, or `user`
/// has no part in it.
pub async fn other_in(
    table: &dyn Table,
    user: &UserKey,
    group: Uuid,
    now: Timestamp,
) -> Result<Option<Participant>, StoreError> {
    let item = table.get(&[keys::member(user, group)], now).await?.pop().flatten();
    let member = item.map(items::attributes::<Member>).transpose()?;
    Ok(member.map(|Member { other, handle, display_name, .. }| Participant {
        key: other,
        handle,
        display_name,
    }))
}

/// The messages of a conversation, newest first. One query. Who asks must be one of the two: see
/// [`other_in`].
pub async fn messages(
    table: &dyn Table,
    group: Uuid,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Message>, StoreError> {
    let partition = keys::messages_partition(group);
    items::newest(table, None, partition, page, now).await?.try_map(|item| {
        let (created_at, uuid) = items::parsed_key(&item, keys::parse_by_time)?;
        let MessageAttributes { group_uuid, handle, display_name, message } =
            items::attributes(item)?;
        Ok(Message { uuid, group_uuid, handle, display_name, message, created_at })
    })
}

/// Writes a message of `from` to `to`, which begins their conversation if there is none. One that
/// comes late, since it had to be tried again, does not go before a newer one in [`groups`].
///
/// [`Message::group_uuid`] must be theirs: [`conversation_uuid`].
pub async fn send(
    table: &dyn Table,
    from: &User,
    to: &Participant,
    message: &Message,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    debug_assert_eq!(message.group_uuid, conversation_uuid(&from.key, &to.key));
    let mine = keys::member(&from.key, message.group_uuid);
    for _ in 0..MAX_ATTEMPTS {
        let member = table.get(std::slice::from_ref(&mine), now).await?.pop().flatten();
        let last = member.map(items::attributes::<Member>).transpose()?;
        let mut writes = match last {
            None => begin(from, to, message)?,
            Some(last) if last.created_at < message.created_at => moved_up(from, to, message),
            Some(_) => Vec::new(),
        };
        writes.push(Write::Put(message_item(message)?));
        match items::write_once(table, writes, answered.clone(), now).await {
            Err(StoreError::ConditionsFailed { .. }) => {} // another one was quicker: look again
            done => return done,
        }
    }
    Err(StoreError::Busy { operation: "send", source: "others keep writing".into() })
}

/// Makes the two members, or the one of a conversation with oneself.
fn begin(from: &User, to: &Participant, message: &Message) -> Result<Vec<Write>, StoreError> {
    let member = |of: &UserKey, other: &UserKey, handle: &Handle, display_name: &DisplayName| {
        let member = Member {
            other: other.clone(),
            handle: handle.clone(),
            display_name: display_name.clone(),
            message: message.message.clone(),
            created_at: message.created_at,
        };
        let item = items::item(keys::member(of, message.group_uuid), None, &member)?;
        Ok(Write::Create(Item { listing: Some(listing(of, message)), ..item }))
    };
    let mut writes = vec![member(&from.key, &to.key, &to.handle, &to.display_name)?];
    if from.key != to.key {
        writes.push(member(&to.key, &from.key, &from.handle, &from.display_name)?);
    }
    Ok(writes)
}

/// Shows both the new message on top, and the other one how the sender is called now.
fn moved_up(from: &User, to: &Participant, message: &Message) -> Vec<Write> {
    let last = json!({"message": message.message, "created_at": message.created_at});
    let update = |of: &UserKey, set: Map<String, Value>| {
        Write::Update(Update {
            key: keys::member(of, message.group_uuid),
            add: Vec::new(),
            set,
            listing: Some(listing(of, message)),
        })
    };
    let last = last.as_object().cloned().unwrap_or_default();
    let mut writes = vec![update(&from.key, last.clone())];
    if from.key != to.key {
        let mut with_sender = last;
        with_sender.insert("handle".to_owned(), json!(from.handle));
        with_sender.insert("display_name".to_owned(), json!(from.display_name));
        writes.push(update(&to.key, with_sender));
    }
    writes
}

fn listing(of: &UserKey, message: &Message) -> Key {
    keys::by_time(keys::groups_partition(of), message.created_at, message.group_uuid)
}

fn message_item(message: &Message) -> Result<Item, StoreError> {
    let partition = keys::messages_partition(message.group_uuid);
    let attributes = MessageAttributes {
        group_uuid: message.group_uuid,
        handle: message.handle.clone(),
        display_name: message.display_name.clone(),
        message: message.message.clone(),
    };
    items::item(keys::by_time(partition, message.created_at, message.uuid), None, &attributes)
}
