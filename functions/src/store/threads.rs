//! Reading and writing activities and their replies.

use futures_util::future::try_join;
use jiff::Timestamp;
use serde_json::Map;
use uuid::Uuid;

use super::{
    Consistency, Item, Key, Order, Query, StoreError, Table, Update, Write,
    codec::{self, Recipient},
    idempotency, keys, pages, users,
};
use crate::domain::{
    Activity, Entry, EntryTree, PageOf, PageRequest, Reply, ReplyTree, Thread, UserKey,
};

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

/// An activity or reply by its id; `None` for a deleted one.
pub async fn find(
    table: &dyn Table,
    uuid: Uuid,
    now: Timestamp,
) -> Result<Option<Entry>, StoreError> {
    let places = [keys::activity(uuid), keys::reply_place(uuid)];
    let alive = |item: &Item| !codec::is_deleted(item);
    let mut found =
        table.get(&places, Consistency::Strong, now).await?.into_iter().map(|it| it.filter(alive));
    if let Some(activity) = found.next().flatten() {
        return codec::read_activity(activity).map(Entry::Activity).map(Some);
    }
    let Some(place) = found.next().flatten() else { return Ok(None) };
    let reply = [codec::read_pointer(place)?];
    let reply = table.get(&reply, Consistency::Strong, now).await?.pop().flatten();
    reply.filter(alive).map(codec::read_reply).transpose().map(|reply| reply.map(Entry::Reply))
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
    let is_answered = entry.counters().has_replies();
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
        let answered = below.entries.iter().filter(|reply| reply.counters.has_replies());
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
    let mut writes: Vec<Write> = items.into_iter().map(Write::Upsert).collect();
    writes.push(users::count_written(activity.author, "activities"));
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
    // The activity at the top may be deleted; the replies below it stay.
    for author in [reply.author, UserKey::gone()] {
        notified.remove(&Recipient::User(author));
    }
    // It expires with the activity at the top, so that there is nothing to require of that one.
    let count = Write::Update(Update {
        key: codec::entry_key(parent),
        add: vec![(codec::REPLIES, 1)],
        set: Map::new(),
        listing: None,
    });
    let items = codec::reply_items(reply, &notified)?;
    let mut writes = vec![count, users::count_written(reply.author, "replies")];
    writes.extend(items.into_iter().map(Write::Upsert));
    match idempotency::write_once(table, writes, answered, now).await {
        Err(error) if error.is_condition_of(0) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Deletes an entry in one transaction on condition of its author, and counts it at its parent.
/// `false`, and nothing is written, if it has gone in the meantime.
///
/// A tombstone stays until the entry would have expired, because replies stand below it. Pointers
/// to it stay too, and lists skip them.
pub async fn delete(table: &dyn Table, entry: &Entry, now: Timestamp) -> Result<bool, StoreError> {
    let mut writes = vec![Write::Erase(codec::erased(entry))];
    if let Entry::Reply(reply) = entry {
        let Some(parent) = parent_key(table, reply, now).await? else { return Ok(false) };
        writes.push(Write::Update(Update {
            key: parent,
            add: vec![(codec::REPLIES, -1), (codec::DELETED_REPLIES, 1)],
            set: Map::new(),
            listing: None,
        }));
    }
    match table.transact_write(&writes, now).await {
        // A parent that is missing has expired, and so has the reply.
        Err(StoreError::ConditionsFailed { .. }) => Ok(false),
        done => done.map(|()| true),
    }
}

async fn parent_key(
    table: &dyn Table,
    reply: &Reply,
    now: Timestamp,
) -> Result<Option<Key>, StoreError> {
    if reply.reply_to_activity_uuid == reply.root_uuid {
        return Ok(Some(keys::activity(reply.root_uuid)));
    }
    let place = [keys::reply_place(reply.reply_to_activity_uuid)];
    let place = table.get(&place, Consistency::Strong, now).await?.pop().flatten();
    place.map(codec::read_pointer).transpose()
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
