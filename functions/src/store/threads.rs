//! Reading and writing activities and their replies.

use futures_util::future::try_join;
use jiff::Timestamp;
use serde_json::Map;
use uuid::Uuid;

use super::{
    Consistency, Order, Query, StoreError, Table, Update, Write,
    codec::{self, Recipient},
    idempotency, keys, pages, users,
};
use crate::domain::{Activity, Entry, EntryTree, PageOf, PageRequest, Reply, ReplyTree, Thread};

/// Most replies shown with one activity or reply. With the longest texts the response stays far
/// below a function's limit.
pub const SHOWN_REPLIES: usize = 100;

/// Levels of replies shown with it. Each level takes two rounds of requests.
pub const SHOWN_DEPTH: usize = 10;

/// An activity or reply, with replies below it.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadView {
    /// What was asked for. A reply in it that has more replies than are shown, by its counter, can
    /// be asked for by its own id.
    pub tree: EntryTree,
    /// Where the replies to it go on, for [`PageRequest::after`]; `None` at the end.
    pub next: Option<String>,
}

/// An activity or reply by its id.
pub async fn find(
    table: &dyn Table,
    uuid: Uuid,
    now: Timestamp,
) -> Result<Option<Entry>, StoreError> {
    let places = [keys::activity(uuid), keys::reply_place(uuid)];
    let mut found = table.get(&places, Consistency::Strong, now).await?.into_iter();
    if let Some(activity) = found.next().flatten() {
        return codec::read_activity(activity).map(Entry::Activity).map(Some);
    }
    let Some(place) = found.next().flatten() else { return Ok(None) };
    let reply = [codec::read_pointer(place)?];
    let reply = table.get(&reply, Consistency::Strong, now).await?.pop().flatten();
    reply.map(codec::read_reply).transpose().map(|reply| reply.map(Entry::Reply))
}

/// An activity or reply by its id, with a page of the replies to it, oldest first, and below each
/// of them what else fits: at most [`SHOWN_REPLIES`] altogether, on [`SHOWN_DEPTH`] levels.
///
/// Costs two reads, and for each level one query for each reply that has been answered (each of
/// them yields a reply) and one read of all that was found.
pub async fn show(
    table: &dyn Table,
    uuid: Uuid,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Option<ThreadView>, StoreError> {
    let Some(entry) = find(table, uuid, now).await? else { return Ok(None) };
    let mut replies = Vec::new();
    let mut next = None;
    let is_answered = entry.counters().replies > 0;
    let mut parents = if is_answered { vec![uuid] } else { Vec::new() };
    for level in 0..SHOWN_DEPTH {
        let room = SHOWN_REPLIES.saturating_sub(replies.len());
        parents.truncate(room);
        if parents.is_empty() {
            break;
        }
        let each = match level {
            0 => page.clone(),
            _ => PageRequest { limit: room / parents.len(), after: None },
        };
        let below = replies_to(table, &parents, &each, now).await?;
        if level == 0 {
            next = below.next;
        }
        let answered = below.entries.iter().filter(|reply| reply.counters.replies > 0);
        parents = answered.map(|reply| reply.uuid).collect();
        replies.extend(below.entries);
    }
    let tree = match entry {
        Entry::Activity(activity) => EntryTree::Activity(Thread::new(activity, replies)),
        Entry::Reply(reply) => EntryTree::Reply(ReplyTree::new(reply, replies)),
    };
    Ok(Some(ThreadView { tree, next }))
}

/// A page of the replies to each of `parents`, one after the other, each oldest first.
/// [`PageOf::next`] is that of the last.
async fn replies_to(
    table: &dyn Table,
    parents: &[Uuid],
    page: &PageRequest,
    now: Timestamp,
) -> Result<PageOf<Reply>, StoreError> {
    let partitions = parents.iter().map(|parent| keys::replies_partition(*parent));
    let queries: Vec<Query> = partitions
        .map(|partition| Query {
            consistency: Consistency::Strong,
            ..pages::query(partition, Order::Ascending, page, now)
        })
        .collect();
    let (mut pointers, mut next) = (Vec::new(), None);
    for page in table.query(&queries).await? {
        pointers.extend(page.items);
        next = page.next;
    }
    let keys = pages::readable(pointers, codec::read_pointer);
    let items = table.get(&keys, Consistency::Strong, now).await?.into_iter().flatten().collect();
    Ok(PageOf { entries: pages::readable(items, codec::read_reply), next })
}

/// Writes a new activity, with all by which it is found; `answered` goes with it (see
/// [`super::idempotency`]).
///
/// The pointers of its words are written before the transaction, which would cost twice as much.
/// Where the transaction then fails, they point to nothing until they expire.
pub async fn publish(
    table: &dyn Table,
    activity: &Activity,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let words = codec::word_items(activity);
    let mentioned = users::mentioned(table, activity.message.as_str(), now);
    let (mut notified, ()) = try_join(mentioned, table.put_each(&words)).await?;
    notified.remove(&Recipient::User(activity.author));
    let items = codec::activity_items(activity, &notified)?;
    let writes = items.into_iter().map(Write::Upsert).collect();
    idempotency::write_once(table, writes, answered, now).await
}

/// Writes a new reply to `parent` and counts it there. `false`, and nothing is written, if the
/// parent or the activity at the top has gone in the meantime.
pub async fn reply(
    table: &dyn Table,
    parent: &Entry,
    reply: &Reply,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut notified = users::mentioned(table, reply.message.as_str(), now).await?;
    notified.insert(Recipient::User(parent.author()));
    if let Entry::Reply(parent) = parent {
        let root = [keys::activity(parent.root_uuid)];
        let root = table.get(&root, Consistency::Strong, now).await?.pop().flatten();
        let Some(activity) = root else { return Ok(false) };
        notified.insert(Recipient::User(codec::read_activity(activity)?.author));
    }
    notified.remove(&Recipient::User(reply.author));
    // It expires with the activity at the top, so that there is nothing to require of that one.
    let count = Write::Update(Update {
        key: codec::entry_key(parent),
        add: vec![(codec::REPLIES, 1)],
        set: Map::new(),
        listing: None,
    });
    let items = codec::reply_items(reply, &notified)?;
    let writes = std::iter::once(count).chain(items.into_iter().map(Write::Upsert)).collect();
    match idempotency::write_once(table, writes, answered, now).await {
        Err(error) if error.is_condition_of(0) => Ok(false),
        done => done.map(|()| true),
    }
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
