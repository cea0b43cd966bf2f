//! Lists of activities: the home feed, those of a user, of a search and of notifications.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Index, Item, Key, Order, Query, StoreError, Table, codec, keys, pages};
use crate::domain::{
    Activity, Entry, EntryTree, Handle, PageOf, PageRequest, Reply, ReplyTree, Thread, UserKey,
    position, words,
};

/// Most replies of a thread in a feed. Every page carries them.
pub const FEED_REPLIES: usize = 20;

/// Most replies on a page of a feed, fewer than [`FEED_REPLIES`] for each activity of a long page.
/// With the longest texts, handles and names, all escaped twice (the body is a text in the
/// response), a page stays below 5.5 MB; a function may return 6.
const PAGE_REPLIES: usize = 600;

/// Levels of replies in a feed.
pub const FEED_DEPTH: u8 = 3;

/// Most rounds of a search for several words while the activities that it reads lack one of them.
/// It bounds the cost of a page; the cursor continues from there.
const MAX_SEARCH_ROUNDS: usize = 5;

/// Most words that a search queries; the words after these only filter. It bounds the cost of a
/// page.
const MAX_SOUGHT: usize = 8;

/// Fewest activities that a round of a search reads, however short the page: fewer would not cost
/// less.
const MIN_SEARCHED: usize = 20;

/// The newest activities, newest first, each with its first [`FEED_REPLIES`] replies.
///
/// Costs one query for each shard of the index, one read of the activities, and one query for each
/// activity that has replies, in three rounds; none of it grows with the store.
pub async fn home(
    table: &dyn Table,
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Thread>, StoreError> {
    let shards: Vec<Query> = keys::home_partitions()
        .map(|partition| Query {
            index: Some(Index::Listing),
            // The page begins at a position in time, and so in every shard.
            ..pages::query(partition, Order::Descending, page, now)
        })
        .collect();
    let PageOf { entries, next } = pages::newest(table, &shards).await?;
    let keys: Vec<Key> = entries.into_iter().map(|item| item.key).collect();
    let items = pages::pointed_to(table, &keys, now).await?;
    let activities = pages::readable(items, codec::read_activity);
    Ok(PageOf { entries: with_replies(table, activities, now).await?, next })
}

/// The activities of a user, newest first. One query, and one read of the activities.
pub async fn of_user(
    table: &dyn Table,
    author: UserKey,
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Activity>, StoreError> {
    let partition = keys::author_partition(author);
    let query = pages::query(partition, Order::Descending, page, now);
    activities_at(table, pages::newest(table, &[query]).await?, now).await
}

/// The activities that have all of `words`, newest first; see [`crate::domain::search_words`].
///
/// Costs one query for each shard of each word and one read of the activities, at most
/// `MAX_SEARCH_ROUNDS` times. The first round queries `MAX_SOUGHT` words and the later rounds
/// query the two rarest of these.
pub async fn search(
    table: &dyn Table,
    words_sought: &[String],
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Activity>, StoreError> {
    let has_all = |activity: &Activity| {
        let words = words(activity.message.as_str());
        words_sought.iter().all(|word| words.contains(word))
    };
    let mut sought: Vec<&String> = words_sought.iter().take(MAX_SOUGHT).collect();
    let mut entries: Vec<Activity> = Vec::new();
    let mut next = page.after.clone();
    for _ in 0..MAX_SEARCH_ROUNDS {
        let limit = (page.limit - entries.len()).max(MIN_SEARCHED);
        let rest = PageRequest { limit, after: next };
        let Some(pointers) = read_rarest(table, &mut sought, &rest, now).await? else {
            return Ok(PageOf { entries: Vec::new(), next: None });
        };
        let read = activities_at(table, pointers, now).await?;
        entries.extend(read.entries.into_iter().filter(has_all));
        next = read.next;
        if entries.len() > page.limit {
            entries.truncate(page.limit);
            next = entries.last().map(|activity| position(activity.created_at, activity.uuid));
        }
        if next.is_none() || entries.len() == page.limit {
            break;
        }
    }
    Ok(PageOf { entries, next })
}

/// The activities to which a page of pointers leads.
async fn activities_at(
    table: &dyn Table,
    PageOf { entries, next }: PageOf<Item>,
    now: Timestamp,
) -> Result<PageOf<Activity>, StoreError> {
    let activity = |pointer: Item| {
        let (_, uuid) = codec::parsed_key(&pointer, keys::parse_by_time)?;
        Ok(keys::activity(uuid))
    };
    let keys = pages::readable(entries, activity);
    let items = pages::pointed_to(table, &keys, now).await?;
    Ok(PageOf { entries: pages::readable(items, codec::read_activity), next })
}

/// A page of pointers of the rarest of `sought`, which keeps the two rarest; `None` without words.
///
/// The rarest word is the one whose page leads furthest back in time.
async fn read_rarest(
    table: &dyn Table,
    sought: &mut Vec<&String>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Option<PageOf<Item>>, StoreError> {
    let query = |partition| pages::query(partition, Order::Descending, page, now);
    let partitions = sought.iter().flat_map(|word| keys::word_partitions(word));
    let queries: Vec<Query> = partitions.map(query).collect();
    let mut shards = table.query(&queries).await?.into_iter();
    let position = |item: &Item| item.position(None).map(str::to_owned);
    let mut read: Vec<(PageOf<Item>, &String)> = Vec::new();
    for word in sought.drain(..) {
        let of_word = shards.by_ref().take(usize::from(keys::SHARDS)).collect();
        read.push((pages::merge(of_word, position, page.limit), word));
    }
    // The end of a partition, `None`, comes before any position.
    read.sort_by_cached_key(|(page, _)| (page.next.clone(), page.entries.len()));
    sought.extend(read.iter().take(2).map(|(_, word)| *word));
    Ok(read.into_iter().next().map(|(page, _)| page))
}

/// The notifications of a reader with these handles (see [`super::users::handles_of`]), newest
/// first: replies to the reader's activities and replies, and entries that mention the reader.
/// Activities come with replies as in the home feed, replies without.
///
/// Costs one query for the reader and one for each handle, one read of the entries, and one query
/// for each activity that has replies.
pub async fn notifications(
    table: &dyn Table,
    reader: UserKey,
    handles: &[Handle],
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<EntryTree>, StoreError> {
    let mentioned = handles.iter().map(keys::mentioned_partition);
    let queries: Vec<Query> = std::iter::once(keys::notified_partition(reader))
        .chain(mentioned)
        .map(|partition| pages::query(partition, Order::Descending, page, now))
        .collect();
    let PageOf { entries, next } = pages::newest(table, &queries).await?;
    let keys = pages::readable(entries, codec::read_pointer);
    let items = pages::pointed_to(table, &keys, now).await?;
    let mut found = pages::readable(items, codec::read_entry);
    // The reader may have had no such handle when they wrote it.
    found.retain(|entry| entry.author() != reader);
    let activities: Vec<Activity> = found
        .iter()
        .filter_map(|entry| match entry {
            Entry::Activity(activity) => Some(activity.clone()),
            Entry::Reply(_) => None,
        })
        .collect();
    let mut threads = with_replies(table, activities, now).await?.into_iter();
    let tree = |entry| match entry {
        Entry::Activity(_) => threads.next().map(EntryTree::Activity),
        Entry::Reply(reply) => Some(EntryTree::Reply(ReplyTree { reply, replies: Vec::new() })),
    };
    Ok(PageOf { entries: found.into_iter().filter_map(tree).collect(), next })
}

/// The threads of `activities`, with one query for each that has replies.
pub async fn with_replies(
    table: &dyn Table,
    activities: Vec<Activity>,
    now: Timestamp,
) -> Result<Vec<Thread>, StoreError> {
    let limit = FEED_REPLIES.min(PAGE_REPLIES / activities.len().max(1));
    let first = PageRequest { limit, after: None };
    let answered = activities.iter().filter(|activity| activity.counters.has_replies());
    let threads: Vec<Query> = answered
        .map(|activity| Query {
            between: Some(keys::replies_down_to(FEED_DEPTH)),
            ..pages::query(keys::thread_partition(activity.uuid), Order::Ascending, &first, now)
        })
        .collect();
    let items = table.query(&threads).await?.into_iter().flat_map(|page| page.items).collect();
    let mut replies: HashMap<Uuid, Vec<Reply>> = HashMap::new();
    for reply in pages::readable(items, codec::read_reply) {
        replies.entry(reply.root_uuid).or_default().push(reply);
    }
    let thread = |activity: Activity| {
        let replies = replies.remove(&activity.uuid).unwrap_or_default();
        Thread::new(activity, replies)
    };
    Ok(activities.into_iter().map(thread).collect())
}
