//! Activities and replies as items, with the items by which they are found.
//!
//! Public for programs that write items, such as demo data.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::item::{self, attributes, parsed_key};
use crate::{
    domain::{
        Activity, Counters, DisplayName, Entry, Excerpt, Handle, LongText, MessageText, Reply,
        mentions, words,
    },
    store::{
        Item, Key, StoreError,
        keys::{self, ReplyKey},
    },
};

/// What an item holds beside its keys; activities and replies alike, each with its own kind of
/// text.
#[derive(Serialize, Deserialize)]
struct EntryAttributes<M> {
    handle: Handle,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<DisplayName>,
    message: M,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(deserialize_with = "at_least_zero")]
    likes_count: u64,
    #[serde(deserialize_with = "at_least_zero")]
    replies_count: u64,
    #[serde(deserialize_with = "at_least_zero")]
    reposts_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to_activity_uuid: Option<Uuid>,
}

/// The counters of an item, by name, for [`crate::store::Update::add`].
pub(in crate::store) const LIKES: &str = "likes_count";
pub(in crate::store) const REPLIES: &str = "replies_count";

/// What lists without counters need; written once, since it never changes.
#[derive(Serialize, Deserialize)]
struct ExcerptAttributes {
    handle: Handle,
    message: MessageText,
    expires_at: Timestamp,
}

/// The key of an entry's item, as an item that points to it holds it.
#[derive(Serialize, Deserialize)]
struct Pointer {
    partition: String,
    sort: String,
}

/// An activity and everything by which it is found: with 64 words and 20 mentions, at most 86
/// items.
pub fn activity_items(activity: &Activity) -> Result<Vec<Item>, StoreError> {
    let attributes = EntryAttributes {
        handle: activity.handle.clone(),
        display_name: activity.display_name.clone(),
        message: activity.message.clone(),
        created_at: activity.created_at,
        expires_at: activity.expires_at,
        likes_count: activity.counters.likes,
        replies_count: activity.counters.replies,
        reposts_count: activity.counters.reposts,
        reply_to_activity_uuid: None,
    };
    let excerpt = ExcerptAttributes {
        handle: activity.handle.clone(),
        message: activity.message.clone(),
        expires_at: activity.expires_at,
    };
    let key = keys::activity(activity.uuid);
    let listing = Some(keys::home(activity.uuid, activity.created_at));
    let mut all = vec![Item {
        listing,
        ..item::with_attributes(key.clone(), Some(activity.expires_at), &attributes)?
    }];
    let found_by =
        words(activity.message.as_str()).into_iter().map(|word| keys::word_partition(&word));
    for partition in std::iter::once(keys::feed_partition(&activity.handle)).chain(found_by) {
        let key = keys::by_time(partition, activity.created_at, activity.uuid);
        all.push(item::with_attributes(key, Some(activity.expires_at), &excerpt)?);
    }
    for handle in mentions(activity.message.as_str()) {
        if handle != activity.handle {
            all.push(notice(
                &handle,
                key.clone(),
                activity.uuid,
                activity.created_at,
                activity.expires_at,
            )?);
        }
    }
    Ok(all)
}

/// The items of a reply: the reply, its place, a pointer below its parent, and notices to the
/// authors of the activity and of the parent.
pub fn reply_items(
    reply: &Reply,
    root_author: &Handle,
    parent_author: &Handle,
) -> Result<Vec<Item>, StoreError> {
    let attributes = EntryAttributes {
        handle: reply.handle.clone(),
        display_name: reply.display_name.clone(),
        message: reply.message.clone(),
        created_at: reply.created_at,
        expires_at: reply.expires_at,
        likes_count: reply.counters.likes,
        replies_count: reply.counters.replies,
        reposts_count: reply.counters.reposts,
        reply_to_activity_uuid: Some(reply.reply_to_activity_uuid),
    };
    let key = reply_key(reply);
    let pointer = Pointer { partition: key.partition.clone(), sort: key.sort.clone() };
    let below = keys::replies_partition(reply.reply_to_activity_uuid);
    let below = keys::by_time(below, reply.created_at, reply.uuid);
    let mut all = vec![
        item::with_attributes(key.clone(), Some(reply.expires_at), &attributes)?,
        item::with_attributes(keys::reply_place(reply.uuid), Some(reply.expires_at), &pointer)?,
        item::with_attributes(below, Some(reply.expires_at), &pointer)?,
    ];
    let mut notified = vec![root_author, parent_author];
    notified.dedup();
    for handle in notified.into_iter().filter(|handle| **handle != reply.handle) {
        all.push(notice(handle, key.clone(), reply.uuid, reply.created_at, reply.expires_at)?);
    }
    Ok(all)
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

/// Tells `to` of the entry with the key `about`.
fn notice(
    to: &Handle,
    about: Key,
    uuid: Uuid,
    created_at: Timestamp,
    expires_at: Timestamp,
) -> Result<Item, StoreError> {
    let key = keys::by_time(keys::notices_partition(to), created_at, uuid);
    let pointer = Pointer { partition: about.partition, sort: about.sort };
    item::with_attributes(key, Some(expires_at), &pointer)
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
    let attributes: EntryAttributes<MessageText> = attributes(item)?;
    Ok(Activity {
        uuid,
        counters: attributes.counters(),
        handle: attributes.handle,
        display_name: attributes.display_name,
        message: attributes.message,
        created_at: attributes.created_at,
        expires_at: attributes.expires_at,
    })
}

pub(in crate::store) fn read_reply(item: Item) -> Result<Reply, StoreError> {
    let key = parsed_key(&item, keys::parse_reply)?;
    let attributes: EntryAttributes<LongText> = attributes(item)?;
    Ok(Reply {
        uuid: key.uuid,
        root_uuid: key.root,
        reply_to_activity_uuid: attributes.reply_to_activity_uuid.unwrap_or(key.root),
        depth: key.depth,
        counters: attributes.counters(),
        handle: attributes.handle,
        display_name: attributes.display_name,
        message: attributes.message,
        created_at: key.created_at,
        expires_at: attributes.expires_at,
    })
}

pub(in crate::store) fn read_excerpt(item: Item) -> Result<Excerpt, StoreError> {
    let (created_at, uuid) = parsed_key(&item, keys::parse_by_time)?;
    let ExcerptAttributes { handle, message, expires_at } = attributes(item)?;
    Ok(Excerpt { uuid, handle, message, created_at, expires_at })
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
