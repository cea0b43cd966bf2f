//! Reading and writing cruds and their replies.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Index, Item, Key, MAX_WRITES, Order, Page, Query, StoreError, Table, Write,
    keys::{self, ReplyKey},
};
use crate::domain::{Activity, Counters, Handle, MessageText, Reply, Thread};

/// Cruds on a page of the home feed, as many as the original's feeds show.
pub const HOME_PAGE: usize = 40;

/// Most replies of a thread that a feed shows. Our choice: they come with every page.
pub const FEED_REPLIES: usize = 20;

/// How many levels of replies a feed shows. Our choice, as above.
pub const FEED_DEPTH: u8 = 3;

/// The newest cruds, newest first, each with its first [`FEED_REPLIES`] replies.
///
/// Costs one query for each shard of the index and one for each crud that has replies, in two
/// rounds; none of it grows with the store.
pub async fn home(table: &dyn Table, now: Timestamp) -> Result<Vec<Thread>, StoreError> {
    let shards: Vec<Query> = keys::home_partitions()
        .map(|partition| Query {
            index: Some(Index::Listing),
            partition,
            between: None,
            order: Order::Descending,
            after: None,
            limit: HOME_PAGE,
            now,
        })
        .collect();
    let newest = merge(table.query(&shards).await?);
    let activities = newest.into_iter().map(read_activity).collect::<Result<Vec<_>, _>>()?;
    with_replies(table, activities, now).await
}

/// Writes a crud and all of its replies, in place of what its thread held before.
///
/// For data whose ids are known beforehand. It is one transaction: of what was there before, only
/// as much goes as fits beside the new items ([`MAX_WRITES`]).
pub async fn replace_thread(
    table: &dyn Table,
    activity: &Activity,
    replies: &[Reply],
) -> Result<(), StoreError> {
    let mut items = vec![activity_item(activity)?];
    for reply in replies {
        items.push(reply_item(reply)?);
    }
    let old = Query {
        index: None,
        partition: keys::thread_partition(activity.uuid),
        between: None,
        order: Order::Ascending,
        after: None,
        limit: MAX_WRITES.saturating_sub(items.len()),
        now: Timestamp::UNIX_EPOCH, // expired ones are replaced too
    };
    let pages = table.query(&[old]).await?;
    let gone = pages.into_iter().flat_map(|page| page.items).map(|item| item.key);
    let mut writes: Vec<Write> =
        gone.filter(|key| items.iter().all(|item| item.key != *key)).map(Write::Delete).collect();
    writes.extend(items.into_iter().map(Write::Put));
    table.transact_write(&writes, activity.created_at).await
}

/// The newest [`HOME_PAGE`] items of all shards.
fn merge(shards: Vec<Page>) -> Vec<Item> {
    let mut items: Vec<Item> = shards.into_iter().flat_map(|page| page.items).collect();
    let position = |item: &Item| item.listing.as_ref().map(|key| key.sort.clone());
    items.sort_by_cached_key(|item| std::cmp::Reverse(position(item)));
    items.truncate(HOME_PAGE);
    items
}

async fn with_replies(
    table: &dyn Table,
    activities: Vec<Activity>,
    now: Timestamp,
) -> Result<Vec<Thread>, StoreError> {
    let answered = activities.iter().filter(|activity| activity.counters.replies > 0);
    let threads: Vec<Query> = answered
        .map(|activity| Query {
            index: None,
            partition: keys::thread_partition(activity.uuid),
            between: Some(keys::replies_down_to(FEED_DEPTH)),
            order: Order::Ascending,
            after: None,
            limit: FEED_REPLIES,
            now,
        })
        .collect();
    let mut pages = match threads.is_empty() {
        true => Vec::new(),
        false => table.query(&threads).await?,
    }
    .into_iter();
    activities
        .into_iter()
        .map(|activity| {
            let page = (activity.counters.replies > 0).then(|| pages.next()).flatten();
            let items = page.map(|page| page.items).unwrap_or_default();
            let replies = items.into_iter().map(read_reply).collect::<Result<_, _>>()?;
            Ok(Thread::new(activity, replies))
        })
        .collect()
}

/// What an item holds beside its keys; cruds and replies alike.
#[derive(Serialize, Deserialize)]
struct Attributes {
    handle: Handle,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    message: MessageText,
    created_at: Timestamp,
    expires_at: Timestamp,
    likes_count: u64,
    replies_count: u64,
    reposts_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to_activity_uuid: Option<Uuid>,
}

impl Attributes {
    fn counters(&self) -> Counters {
        Counters {
            likes: self.likes_count,
            replies: self.replies_count,
            reposts: self.reposts_count,
        }
    }
}

fn activity_item(activity: &Activity) -> Result<Item, StoreError> {
    let attributes = Attributes {
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
    let home = keys::home(activity.uuid, activity.created_at);
    item(keys::activity(activity.uuid), Some(home), &attributes)
}

fn reply_item(reply: &Reply) -> Result<Item, StoreError> {
    let key = keys::reply(&ReplyKey {
        root: reply.root_uuid,
        depth: reply.depth,
        created_at: reply.created_at,
        uuid: reply.uuid,
    });
    let attributes = Attributes {
        handle: reply.handle.clone(),
        display_name: None,
        message: reply.message.clone(),
        created_at: reply.created_at,
        expires_at: reply.expires_at,
        likes_count: reply.counters.likes,
        replies_count: reply.counters.replies,
        reposts_count: reply.counters.reposts,
        reply_to_activity_uuid: Some(reply.reply_to_activity_uuid),
    };
    item(key, None, &attributes)
}

fn item(key: Key, listing: Option<Key>, attributes: &Attributes) -> Result<Item, StoreError> {
    // Cut to the second, so an item is hidden up to a second early and never a moment late.
    let expires_at_seconds = Some(attributes.expires_at.as_second());
    match serde_json::to_value(attributes) {
        Ok(Value::Object(attributes)) => Ok(Item { key, listing, expires_at_seconds, attributes }),
        Ok(other) => Err(corrupt(&key, format!("attributes became {other}"))),
        Err(error) => Err(corrupt(&key, error)),
    }
}

fn read_activity(item: Item) -> Result<Activity, StoreError> {
    let uuid =
        keys::parse_activity(&item.key).ok_or_else(|| corrupt(&item.key, "not a crud's key"))?;
    let attributes = read_attributes(item)?;
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

fn read_reply(item: Item) -> Result<Reply, StoreError> {
    let key =
        keys::parse_reply(&item.key).ok_or_else(|| corrupt(&item.key, "not a reply's key"))?;
    let attributes = read_attributes(item)?;
    Ok(Reply {
        uuid: key.uuid,
        root_uuid: key.root,
        reply_to_activity_uuid: attributes.reply_to_activity_uuid.unwrap_or(key.root),
        depth: key.depth,
        counters: attributes.counters(),
        handle: attributes.handle,
        message: attributes.message,
        created_at: key.created_at,
        expires_at: attributes.expires_at,
    })
}

fn read_attributes(item: Item) -> Result<Attributes, StoreError> {
    serde_json::from_value(Value::Object(item.attributes))
        .map_err(|error| corrupt(&item.key, error))
}

fn corrupt(key: &Key, reason: impl ToString) -> StoreError {
    StoreError::Corrupt { key: key.clone(), reason: reason.to_string() }
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
