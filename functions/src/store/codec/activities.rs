//! Activities and replies as items, with the items by which they are found.
//!
//! Public for programs that write items, such as demo data.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::item::{self, attributes, corrupt, parsed_key};
use crate::{
    domain::{Activity, Counters, Entry, Handle, Reply, Text, UserKey, Written, words},
    store::{
        Erase, Item, Key, StoreError,
        keys::{self, ReplyKey},
    },
};

/// Where the notification of an entry goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipient {
    /// To a user.
    User(UserKey),
    /// To a handle without a user; the next user with this handle reads it.
    Handle(Handle),
}

/// What an item holds beside its keys; activities and replies alike, each with its own kind of
/// text. A deleted one has neither author nor text.
#[derive(Serialize, Deserialize)]
struct EntryAttributes<M> {
    author: Option<UserKey>,
    message: Option<M>,
    #[serde(default, skip_serializing_if = "is_false")]
    deleted: bool,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(deserialize_with = "at_least_zero")]
    likes_count: u64,
    #[serde(deserialize_with = "at_least_zero")]
    replies_count: u64,
    #[serde(deserialize_with = "at_least_zero")]
    reposts_count: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    deleted_replies_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to_activity_uuid: Option<Uuid>,
}

/// The counters of an item, by name, for [`crate::store::Update::add`].
pub(in crate::store) const LIKES: &str = "likes_count";
pub(in crate::store) const REPLIES: &str = "replies_count";
pub(in crate::store) const DELETED_REPLIES: &str = "deleted_replies_count";

const AUTHOR: &str = "author";
const MESSAGE: &str = "message";
const DELETED: &str = "deleted";

/// The key of an entry's item, as an item that points to it holds it.
#[derive(Serialize, Deserialize)]
struct Pointer {
    partition: String,
    sort: String,
}

/// The items of an activity that are written together: the activity, a pointer for its author's
/// feed, and notifications.
pub fn activity_items(
    activity: &Activity,
    notified: &BTreeSet<Recipient>,
) -> Result<Vec<Item>, StoreError> {
    let Activity { uuid, author, created_at, expires_at, .. } = *activity;
    let attributes = EntryAttributes {
        author: Some(author),
        message: Some(activity.message.clone()),
        deleted: false,
        created_at,
        expires_at,
        likes_count: activity.counters.likes,
        replies_count: activity.counters.replies,
        reposts_count: activity.counters.reposts,
        deleted_replies_count: activity.counters.deleted_replies,
        reply_to_activity_uuid: None,
    };
    let key = keys::activity(uuid);
    let of_author = keys::by_time(keys::author_partition(author), created_at, uuid);
    let listing = Some(keys::home(uuid, created_at));
    let activity = item::with_attributes(key.clone(), Some(expires_at), &attributes)?;
    let mut all = vec![Item { listing, ..activity }, item::key_only(of_author, Some(expires_at))];
    all.extend(notices(notified, &key, (created_at, uuid), expires_at)?);
    Ok(all)
}

/// The item that counts what a user has published.
pub fn written_item(user: UserKey, written: Written) -> Result<Item, StoreError> {
    item::with_attributes(keys::written(user), None, &written)
}

/// The pointers by which a search finds an activity, one for each of its words.
pub fn word_items(activity: &Activity) -> Vec<Item> {
    let pointer = |word: String| {
        let key = keys::word(&word, activity.uuid, activity.created_at);
        item::key_only(key, Some(activity.expires_at))
    };
    words(activity.message.as_str()).into_iter().map(pointer).collect()
}

/// The items of a reply: the reply, its place, a pointer below its parent, and notifications.
pub fn reply_items(reply: &Reply, notified: &BTreeSet<Recipient>) -> Result<Vec<Item>, StoreError> {
    let attributes = EntryAttributes {
        author: Some(reply.author),
        message: Some(reply.message.clone()),
        deleted: false,
        created_at: reply.created_at,
        expires_at: reply.expires_at,
        likes_count: reply.counters.likes,
        replies_count: reply.counters.replies,
        reposts_count: reply.counters.reposts,
        deleted_replies_count: reply.counters.deleted_replies,
        reply_to_activity_uuid: Some(reply.reply_to_activity_uuid),
    };
    let expires_at = reply.expires_at;
    let key = reply_key(reply);
    let pointer = Pointer { partition: key.partition.clone(), sort: key.sort.clone() };
    let below = keys::replies_partition(reply.reply_to_activity_uuid);
    let below = keys::by_time(below, reply.created_at, reply.uuid);
    let mut all = vec![
        item::with_attributes(key.clone(), Some(expires_at), &attributes)?,
        item::with_attributes(keys::reply_place(reply.uuid), Some(expires_at), &pointer)?,
        item::with_attributes(below, Some(expires_at), &pointer)?,
    ];
    all.extend(notices(notified, &key, (reply.created_at, reply.uuid), expires_at)?);
    Ok(all)
}

/// The write that leaves a tombstone of an entry: no author and no text, but times and counters. Its
/// condition is the author, so it fails for an entry that is deleted already.
pub(in crate::store) fn erased(entry: &Entry) -> Erase {
    Erase {
        key: entry_key(entry),
        only_if: (AUTHOR, json!(entry.author())),
        remove: vec![AUTHOR, MESSAGE],
        set: Map::from_iter([(DELETED.to_owned(), Value::Bool(true))]),
    }
}

/// Whether the item is the tombstone of an activity or reply.
pub(in crate::store) fn is_deleted(item: &Item) -> bool {
    item.attributes.get(DELETED) == Some(&Value::Bool(true))
}

/// The key of an entry's own item.
pub(in crate::store) fn entry_key(entry: &Entry) -> Key {
    match entry {
        Entry::Activity(activity) => keys::activity(activity.uuid),
        Entry::Reply(reply) => reply_key(reply),
    }
}

fn reply_key(reply: &Reply) -> Key {
    keys::reply(&ReplyKey {
        root: reply.root_uuid,
        depth: reply.depth,
        created_at: reply.created_at,
        uuid: reply.uuid,
    })
}

/// Pointers from the recipients' notifications to the entry with the key `about`.
fn notices(
    to: &BTreeSet<Recipient>,
    about: &Key,
    (created_at, uuid): (Timestamp, Uuid),
    expires_at: Timestamp,
) -> Result<Vec<Item>, StoreError> {
    let pointer = Pointer { partition: about.partition.clone(), sort: about.sort.clone() };
    let notice = |recipient: &Recipient| {
        let partition = match recipient {
            Recipient::User(user) => keys::notified_partition(*user),
            Recipient::Handle(handle) => keys::mentioned_partition(handle),
        };
        let key = keys::by_time(partition, created_at, uuid);
        item::with_attributes(key, Some(expires_at), &pointer)
    };
    to.iter().map(notice).collect()
}

/// The key that an item points to: the place of a reply, a reply below another, or a notice.
pub(in crate::store) fn read_pointer(item: Item) -> Result<Key, StoreError> {
    let Pointer { partition, sort } = attributes(item)?;
    Ok(Key { partition, sort })
}

/// An activity or a reply, whichever the item is.
pub fn read_entry(item: Item) -> Result<Entry, StoreError> {
    match keys::parse_activity(&item.key) {
        Some(_) => read_activity(item).map(Entry::Activity),
        None => read_reply(item).map(Entry::Reply),
    }
}

pub(in crate::store) fn read_activity(item: Item) -> Result<Activity, StoreError> {
    let uuid = parsed_key(&item, keys::parse_activity)?;
    let (attributes, author, message) = entry_attributes(item)?;
    Ok(Activity {
        uuid,
        counters: attributes.counters(),
        author,
        message,
        created_at: attributes.created_at,
        expires_at: attributes.expires_at,
    })
}

pub(in crate::store) fn read_reply(item: Item) -> Result<Reply, StoreError> {
    let key = parsed_key(&item, keys::parse_reply)?;
    let (attributes, author, message) = entry_attributes(item)?;
    Ok(Reply {
        uuid: key.uuid,
        root_uuid: key.root,
        reply_to_activity_uuid: attributes.reply_to_activity_uuid.unwrap_or(key.root),
        depth: key.depth,
        counters: attributes.counters(),
        author,
        message,
        created_at: key.created_at,
        expires_at: attributes.expires_at,
    })
}

/// The attributes with author and text; stand-ins for those of a deleted entry.
fn entry_attributes<const MAX: usize>(
    item: Item,
) -> Result<(EntryAttributes<Text<MAX>>, UserKey, Text<MAX>), StoreError>
where
    Text<MAX>: DeserializeOwned,
{
    let key = item.key.clone();
    let mut read: EntryAttributes<Text<MAX>> = attributes(item)?;
    let (author, message) = match (read.author, read.message.take()) {
        (Some(author), Some(message)) => (author, message),
        (None, None) if read.deleted => (UserKey::gone(), Text::deleted()),
        _ => return Err(corrupt(&key, "author or text is missing")),
    };
    Ok((read, author, message))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One wrong counter must not take a whole page with it.
fn at_least_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    i64::deserialize(deserializer).map(|count| u64::try_from(count).unwrap_or(0))
}

impl<M> EntryAttributes<M> {
    fn counters(&self) -> Counters {
        Counters {
            likes: self.likes_count,
            replies: self.replies_count,
            reposts: self.reposts_count,
            deleted_replies: self.deleted_replies_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_went_below_zero_is_shown_as_zero() {
        for (stored, shown) in [("-1", 0), ("0", 0), ("7", 7)] {
            let mut json = serde_json::Deserializer::from_str(stored);

            assert_eq!(at_least_zero(&mut json).unwrap(), shown);
        }
    }
}
