//! Lists of activities: the home feed, those of a user, of a search and of notifications.

use jiff::Timestamp;

use super::{Index, Item, Order, Query, StoreError, Table, codec, keys, pages};
use crate::domain::{
    Activity, Entry, EntryTree, Excerpt, Handle, PageOf, PageRequest, ReplyTree, Thread, position,
    words,
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
/// Costs one query for each shard of the index and one for each activity that has replies, in two
/// rounds; none of it grows with the store.
pub async fn home(
    table: &dyn Table,
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Thread>, StoreError> {
    let index = Some(Index::Listing);
    let shards: Vec<Query> = keys::home_partitions()
        .map(|partition| Query {
            index,
            // The page begins at a position in time, and so in every shard.
            ..pages::query(partition, Order::Descending, page, now)
        })
        .collect();
    let shards = table.query(&shards).await?;
    let newest = pages::merge(shards, index, page.limit).try_map(codec::read_activity)?;
    let entries = with_replies(table, newest.entries, now).await?;
    Ok(PageOf { entries, next: newest.next })
}

/// The activities of a user, newest first; none if there is no such user. One query.
pub async fn of_user(
    table: &dyn Table,
    author: &Handle,
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Excerpt>, StoreError> {
    let partition = keys::feed_partition(author);
    pages::newest(table, None, partition, page, now).await?.try_map(codec::read_excerpt)
}

/// The activities that have all of `words`, newest first; see [`crate::domain::search_words`].
///
/// One query for one word. Several words cost at most `MAX_SEARCH_ROUNDS` rounds. The first round
/// queries [`MAX_SOUGHT`] words and the later rounds query the two rarest of these.
pub async fn search(
    table: &dyn Table,
    words_sought: &[String],
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Excerpt>, StoreError> {
    let has_all = |activity: &Excerpt| {
        let words = words(activity.message.as_str());
        words_sought.iter().all(|word| words.contains(word))
    };
    let mut sought: Vec<&String> = words_sought.iter().take(MAX_SOUGHT).collect();
    let mut entries: Vec<Excerpt> = Vec::new();
    let mut next = page.after.clone();
    for _ in 0..MAX_SEARCH_ROUNDS {
        let limit = (page.limit - entries.len()).max(MIN_SEARCHED);
        let rest = PageRequest { limit, after: next };
        let Some(read) = read_rarest(table, &mut sought, &rest, now).await? else {
            return Ok(PageOf { entries: Vec::new(), next: None });
        };
        let read = read.try_map(codec::read_excerpt)?;
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

/// A page of the rarest of `sought`, which keeps the two rarest; `None` without words.
///
/// The rarest word is the one whose page leads furthest back in time.
async fn read_rarest(
    table: &dyn Table,
    sought: &mut Vec<&String>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Option<PageOf<Item>>, StoreError> {
    let query =
        |word: &&String| pages::query(keys::word_partition(word), Order::Descending, page, now);
    let queries: Vec<Query> = sought.iter().map(query).collect();
    let mut read: Vec<_> = table.query(&queries).await?.into_iter().zip(sought.drain(..)).collect();
    // The end of a partition, `None`, comes before any position.
    read.sort_by_cached_key(|(page, _)| (page.next.clone(), page.items.len()));
    sought.extend(read.iter().take(2).map(|(_, word)| *word));
    let rarest = read.into_iter().next();
    Ok(rarest.map(|(page, _)| PageOf { entries: page.items, next: page.next }))
}

/// The notifications of a reader with these handles (see [`super::users::handles_of`]), newest
/// first: replies to the reader's activities and replies, and activities that mention the reader.
/// Activities come with replies as in the home feed, replies without.
///
/// Costs one query for each handle, one read of the entries, and one query for each activity that
/// has replies.
pub async fn notifications(
    table: &dyn Table,
    reader: &[Handle],
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<EntryTree>, StoreError> {
    let queries: Vec<Query> = reader
        .iter()
        .map(|handle| pages::query(keys::notices_partition(handle), Order::Descending, page, now))
        .collect();
    let notices = table.query(&queries).await?;
    let notices = pages::merge(notices, None, page.limit);
    let keys = notices.try_map(codec::read_pointer)?;
    let found = table.get(&keys.entries, now).await?.into_iter().flatten();
    let mut found = found.map(codec::read_entry).collect::<Result<Vec<_>, _>>()?;
    // Replies by the reader under another handle are left out.
    found.retain(|entry| !reader.contains(entry.handle()));
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
    Ok(PageOf { entries: found.into_iter().filter_map(tree).collect(), next: keys.next })
}

/// The threads of `activities`, with one query for each that has replies.
async fn with_replies(
    table: &dyn Table,
    activities: Vec<Activity>,
    now: Timestamp,
) -> Result<Vec<Thread>, StoreError> {
    let limit = FEED_REPLIES.min(PAGE_REPLIES / activities.len().max(1));
    let first = PageRequest { limit, after: None };
    let answered = activities.iter().filter(|activity| activity.counters.replies > 0);
    let threads: Vec<Query> = answered
        .map(|activity| Query {
            between: Some(keys::replies_down_to(FEED_DEPTH)),
            ..pages::query(keys::thread_partition(activity.uuid), Order::Ascending, &first, now)
        })
        .collect();
    let mut pages = table.query(&threads).await?.into_iter();
    let thread = |activity: Activity| {
        let page = (activity.counters.replies > 0).then(|| pages.next()).flatten();
        let items = page.map(|page| page.items).unwrap_or_default();
        let replies = items.into_iter().map(codec::read_reply).collect::<Result<_, _>>()?;
        Ok(Thread::new(activity, replies))
    };
    activities.into_iter().map(thread).collect()
}
