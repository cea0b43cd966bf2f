//! Reading and writing cruds and their replies.

use jiff::Timestamp;
use serde_json::Map;
use uuid::Uuid;

use super::{
    Index, Order, Query, StoreError, Table, Update, Write,
    items::{self, Listed, PageRequest},
    keys, posts,
};
use crate::domain::{Activity, Post, PostTree, Reply, ReplyTree, Thread};

/// Most replies of a thread that a feed shows. Our choice: they come with every page.
pub const FEED_REPLIES: usize = 20;

/// Most replies on a page of a feed, which leaves fewer than [`FEED_REPLIES`] for each crud of a long
/// page. Our choice: with the longest texts, handles and names, all of them escaped twice (the body
/// is a text in the reply), a page is below 5.5 MB, and a function may reply with 6.
const PAGE_REPLIES: usize = 600;

/// How many levels of replies a feed shows. Our choice, as above.
pub const FEED_DEPTH: u8 = 3;

/// Most replies that one crud or reply is shown with when it is asked for by its id. Our choice:
/// with the longest texts it stays far below what a function may reply with.
pub const SHOWN_REPLIES: usize = 100;

/// How many levels of replies it is shown with. Our choice: each level is two rounds of requests.
pub const SHOWN_DEPTH: usize = 10;

/// A crud or reply, with replies below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// What was asked for. A reply in it that has more replies than are shown, by its counter, can be
    /// asked for by its own id.
    pub tree: PostTree,
    /// Where the replies to it go on, for [`PageRequest::after`]; `None` at the end.
    pub next: Option<String>,
}

/// The newest cruds, newest first, each with its first [`FEED_REPLIES`] replies.
///
/// Costs one query for each shard of the index and one for each crud that has replies, in two
/// rounds; none of it grows with the store.
pub async fn home(
    table: &dyn Table,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Thread>, StoreError> {
    let index = Some(Index::Listing);
    let shards: Vec<Query> = keys::home_partitions()
        .map(|partition| Query {
            index,
            // The page begins at a position in time, and so in every shard.
            ..items::query(partition, Order::Descending, page, now)
        })
        .collect();
    let shards = table.query(&shards).await?;
    let newest = items::merge(shards, index, page.limit).try_map(posts::read_crud)?;
    let entries = with_replies(table, newest.entries, now).await?;
    Ok(Listed { entries, next: newest.next })
}

/// A crud or reply by its id.
pub async fn find(
    table: &dyn Table,
    uuid: Uuid,
    now: Timestamp,
) -> Result<Option<Post>, StoreError> {
    let mut found =
        table.get(&[keys::activity(uuid), keys::reply_place(uuid)], now).await?.into_iter();
    if let Some(crud) = found.next().flatten() {
        return posts::read_crud(crud).map(Post::Crud).map(Some);
    }
    let Some(place) = found.next().flatten() else { return Ok(None) };
    let reply = table.get(&[posts::read_pointer(place)?], now).await?.pop().flatten();
    reply.map(posts::read_reply).transpose().map(|reply| reply.map(Post::Reply))
}

/// A crud or reply by its id, with a page of the replies to it, oldest first, and below each of them
/// what else fits: at most [`SHOWN_REPLIES`] altogether, on [`SHOWN_DEPTH`] levels.
///
/// Costs two reads, and for each level one query for each reply that has been answered (each of them
/// yields a reply) and one read of all that was found.
pub async fn show(
    table: &dyn Table,
    uuid: Uuid,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Option<Shown>, StoreError> {
    let Some(post) = find(table, uuid, now).await? else { return Ok(None) };
    let mut replies = Vec::new();
    let mut next = None;
    let is_answered = post.counters().replies > 0;
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
    let tree = match post {
        Post::Crud(crud) => PostTree::Crud(Thread::new(crud, replies)),
        Post::Reply(reply) => PostTree::Reply(ReplyTree::new(reply, replies)),
    };
    Ok(Some(Shown { tree, next }))
}

/// A page of the replies to each of `parents`, one after the other, each oldest first.
/// [`Listed::next`] is that of the last.
async fn replies_to(
    table: &dyn Table,
    parents: &[Uuid],
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Reply>, StoreError> {
    let partitions = parents.iter().map(|parent| keys::replies_partition(*parent));
    let queries: Vec<Query> =
        partitions.map(|partition| items::query(partition, Order::Ascending, page, now)).collect();
    let mut found = Listed { entries: Vec::new(), next: None };
    for page in table.query(&queries).await? {
        found.entries.extend(page.items);
        found.next = page.next;
    }
    let Listed { entries: keys, next } = found.try_map(posts::read_pointer)?;
    let items = table.get(&keys, now).await?.into_iter().flatten();
    let entries = items.map(posts::read_reply).collect::<Result<_, _>>()?;
    Ok(Listed { entries, next })
}

/// Writes a new crud, with all by which it is found; `answered` goes with it (see
/// [`super::requests`]).
pub async fn publish(
    table: &dyn Table,
    crud: &Activity,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let writes = posts::crud_items(crud)?.into_iter().map(Write::Put).collect();
    items::write_once(table, writes, answered, now).await
}

/// Writes a new reply to `parent` and counts it there. `false`, and nothing is written, if the
/// parent or the crud at the top has gone in the meantime.
pub async fn reply(
    table: &dyn Table,
    parent: &Post,
    reply: &Reply,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut root_author = parent.handle().clone();
    if let Post::Reply(parent) = parent {
        let root = [keys::activity(parent.root_uuid)];
        let Some(crud) = table.get(&root, now).await?.pop().flatten() else {
            return Ok(false);
        };
        root_author = posts::read_crud(crud)?.handle;
    }
    // It expires with the crud at the top, so that there is nothing to require of that one.
    let count = Write::Update(Update {
        key: posts::post_key(parent),
        add: vec![(posts::REPLIES, 1)],
        set: Map::new(),
        listing: None,
    });
    let items = posts::reply_items(reply, &root_author, parent.handle())?;
    let writes = std::iter::once(count).chain(items.into_iter().map(Write::Put)).collect();
    match items::write_once(table, writes, answered, now).await {
        Err(error) if error.is_condition_of(0) => Ok(false),
        done => done.map(|()| true),
    }
}

/// The threads of `cruds`, with one query for each that has replies.
pub(super) async fn with_replies(
    table: &dyn Table,
    cruds: Vec<Activity>,
    now: Timestamp,
) -> Result<Vec<Thread>, StoreError> {
    let limit = FEED_REPLIES.min(PAGE_REPLIES / cruds.len().max(1));
    let first = PageRequest { limit, after: None };
    let answered = cruds.iter().filter(|crud| crud.counters.replies > 0);
    let threads: Vec<Query> = answered
        .map(|crud| Query {
            between: Some(keys::replies_down_to(FEED_DEPTH)),
            ..items::query(keys::thread_partition(crud.uuid), Order::Ascending, &first, now)
        })
        .collect();
    let mut pages = table.query(&threads).await?.into_iter();
    let thread = |crud: Activity| {
        let page = (crud.counters.replies > 0).then(|| pages.next()).flatten();
        let items = page.map(|page| page.items).unwrap_or_default();
        let replies = items.into_iter().map(posts::read_reply).collect::<Result<_, _>>()?;
        Ok(Thread::new(crud, replies))
    };
    cruds.into_iter().map(thread).collect()
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
