//! Conversations of two, and their messages. Only the two are members, and only members read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use uuid::Uuid;

use super::{
    Consistency, Index, Item, Key, Order, Query, StoreError, Table, Update, Write, codec,
    idempotency, keys, pages,
};
use crate::domain::{
    LongText, Message, MessageGroup, PageOf, PageRequest, UserKey, conversation_uuid,
};

/// How often a message is tried when others get in between: one may have begun the conversation, a
/// newer one may then have come first, and behind that nothing is in the way.
const MAX_ATTEMPTS: usize = 3;

/// The membership of one user in a conversation.
#[derive(Serialize, Deserialize)]
struct Member {
    other: UserKey,
    message: LongText,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct MessageAttributes {
    group_uuid: Uuid,
    from: UserKey,
    message: LongText,
}

/// The conversations of a user, the one with the newest message first. One query, and one read of
/// the memberships.
pub async fn groups(
    table: &dyn Table,
    user: UserKey,
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<MessageGroup>, StoreError> {
    let query = pages::query(keys::groups_partition(user), Order::Descending, page, now);
    let query = Query { index: Some(Index::Listing), ..query };
    let PageOf { entries, next } = pages::newest(table, &[query]).await?;
    let keys: Vec<Key> = entries.into_iter().map(|item| item.key).collect();
    let items = pages::pointed_to(table, &keys, now).await?;
    Ok(PageOf { entries: pages::readable(items, read_group), next })
}

fn read_group(item: Item) -> Result<MessageGroup, StoreError> {
    let uuid = codec::parsed_key(&item, keys::parse_member)?;
    let Member { other, message, created_at } = codec::attributes(item)?;
    Ok(MessageGroup { uuid, other, message, created_at })
}

/// The other user in a conversation of `user`; `None` if the conversation does not exist or `user`
/// is not a member.
pub async fn other_member(
    table: &dyn Table,
    user: UserKey,
    group: Uuid,
    now: Timestamp,
) -> Result<Option<UserKey>, StoreError> {
    let key = [keys::member(user, group)];
    let item = table.get(&key, Consistency::Strong, now).await?.pop().flatten();
    let member = item.map(codec::attributes::<Member>).transpose()?;
    Ok(member.map(|member| member.other))
}

/// The messages of a conversation, newest first. One query. Callers check the membership with
/// [`other_member`].
pub async fn messages(
    table: &dyn Table,
    group: Uuid,
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Message>, StoreError> {
    let query = pages::query(keys::messages_partition(group), Order::Descending, page, now);
    let query = Query { consistency: Consistency::Strong, ..query };
    let PageOf { entries, next } = pages::newest(table, &[query]).await?;
    Ok(PageOf { entries: pages::readable(entries, read_message), next })
}

fn read_message(item: Item) -> Result<Message, StoreError> {
    let (created_at, uuid) = codec::parsed_key(&item, keys::parse_by_time)?;
    let MessageAttributes { group_uuid, from, message } = codec::attributes(item)?;
    Ok(Message { uuid, group_uuid, from, message, created_at })
}

/// Writes a message to `to` and creates their conversation with the first one. A message
/// that is late after retries stays behind newer ones in [`groups`].
///
/// [`Message::group_uuid`] must be theirs: [`conversation_uuid`].
pub async fn send(
    table: &dyn Table,
    to: UserKey,
    message: &Message,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let from = message.from;
    debug_assert_eq!(message.group_uuid, conversation_uuid(from, to));
    let mine = keys::member(from, message.group_uuid);
    for _ in 0..MAX_ATTEMPTS {
        let member = table.get(std::slice::from_ref(&mine), Consistency::Strong, now).await?;
        let last =
            member.into_iter().flatten().next().map(codec::attributes::<Member>).transpose()?;
        let mut writes = match last {
            None => begin(from, to, message)?,
            Some(last) if last.created_at < message.created_at => moved_up(from, to, message),
            Some(_) => Vec::new(),
        };
        writes.push(Write::Upsert(message_item(message)?));
        match idempotency::write_once(table, writes, answered.clone(), now).await {
            Err(StoreError::ConditionsFailed { .. }) => {} // another one was quicker: look again
            done => return done,
        }
    }
    Err(StoreError::Busy { operation: "send", code: None, source: "others keep writing".into() })
}

/// Makes the two members, or the one of a conversation with oneself.
fn begin(from: UserKey, to: UserKey, message: &Message) -> Result<Vec<Write>, StoreError> {
    let member = |(of, other): (UserKey, UserKey)| {
        let member =
            Member { other, message: message.message.clone(), created_at: message.created_at };
        let item = codec::with_attributes(keys::member(of, message.group_uuid), None, &member)?;
        Ok(Write::Insert(Item { listing: Some(listing(of, message)), ..item }))
    };
    participants(from, to).map(member).collect()
}

/// Shows both the new message on top.
fn moved_up(from: UserKey, to: UserKey, message: &Message) -> Vec<Write> {
    let last = [
        ("message".to_owned(), json!(message.message)),
        ("created_at".to_owned(), json!(message.created_at)),
    ];
    let update = |(of, _): (UserKey, UserKey)| {
        Write::Update(Update {
            key: keys::member(of, message.group_uuid),
            add: Vec::new(),
            set: Map::from_iter(last.clone()),
            listing: Some(listing(of, message)),
        })
    };
    participants(from, to).map(update).collect()
}

/// Each of the two with the other; oneself once.
fn participants(from: UserKey, to: UserKey) -> impl Iterator<Item = (UserKey, UserKey)> {
    std::iter::once((from, to)).chain((from != to).then_some((to, from)))
}

fn listing(of: UserKey, message: &Message) -> Key {
    keys::by_time(keys::groups_partition(of), message.created_at, message.group_uuid)
}

fn message_item(message: &Message) -> Result<Item, StoreError> {
    let partition = keys::messages_partition(message.group_uuid);
    let attributes = MessageAttributes {
        group_uuid: message.group_uuid,
        from: message.from,
        message: message.message.clone(),
    };
    codec::with_attributes(
        keys::by_time(partition, message.created_at, message.uuid),
        None,
        &attributes,
    )
}
