//! Reading and writing cruds and their replies.

use jiff::Timestamp;
use serde_json::Map;
use uuid::Uuid;

use super::{
    Index, Item, Order, Page, Query, StoreError, Table, Update, Write,
    items::{self, Listed, PageRequest},
    keys, posts,
};
use crate::domain::{Activity, Handle, Post, PostTree, Reply, ReplyTree, Thread};

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

/// The newest cruds, newest first, each with its first [`FEED_REPLIES`] replies.
///
/// Costs one query for each shard of the index and one for each crud that has replies, in two
/// rounds; none of it grows with the store.
pub async fn home(
    table: &dyn Table,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Thread>, StoreError> {
    let shards: Vec<Query> = keys::home_partitions()
        .map(|partition| Query {
            index: Some(Index::Listing),
            partition,
            between: None,
            order: Order::Descending,
            // A position in time, and so in every shard.
            after: page.after.clone(),
            limit: page.limit,
            now,
        })
        .collect();
    let newest = merge(table.query(&shards).await?, page.limit).try_map(posts::read_crud)?;
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

/// A crud or reply by its id, with the first [`SHOWN_REPLIES`] below it.
pub async fn show(
    table: &dyn Table,
    uuid: Uuid,
    now: Timestamp,
) -> Result<Option<PostTree>, StoreError> {
    let Some(post) = find(table, uuid, now).await? else { return Ok(None) };
    let below = Query {
        index: None,
        partition: keys::thread_partition(post.root_uuid()),
        between: Some(keys::replies_below(post.depth())),
        order: Order::Ascending,
        after: None,
        limit: SHOWN_REPLIES,
        now,
    };
    let pages = if post.counters().replies > 0 { table.query(&[below]).await? } else { Vec::new() };
    let replies = pages.into_iter().flat_map(|page| page.items);
    let replies = replies.map(posts::read_reply).collect::<Result<_, _>>()?;
    Ok(Some(match post {
        Post::Crud(crud) => PostTree::Crud(Thread::new(crud, replies)),
        Post::Reply(reply) => PostTree::Reply(ReplyTree::new(reply, replies)),
    }))
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
    let mut writes = vec![Write::Update(Update {
        key: posts::post_key(parent),
        add: vec![(posts::REPLIES, 1)],
        set: Map::new(),
        listing: None,
    })];
    let mut root_author = parent.handle().clone();
    if let Post::Reply(parent) = parent {
        let root = keys::activity(parent.root_uuid);
        let Some(crud) = table.get(std::slice::from_ref(&root), now).await?.pop().flatten() else {
            return Ok(false);
        };
        root_author = posts::read_crud(crud)?.handle;
        writes.push(Write::Require(root));
    }
    let conditions = 0..writes.len();
    let items = posts::reply_items(reply, &root_author, parent.handle())?;
    writes.extend(items.into_iter().map(Write::Put));
    match items::write_once(table, writes, answered, now).await {
        Err(error) if conditions.into_iter().any(|at| error.is_condition_of(at)) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Writes a crud and all of its replies, in place of what its thread held before.
///
/// For data whose ids are known beforehand, in two transactions. Each fails if there is more than
/// fits ([`super::MAX_WRITES`]).
pub async fn replace_thread(
    table: &dyn Table,
    crud: &Activity,
    replies: &[Reply],
) -> Result<(), StoreError> {
    let before_all = Timestamp::UNIX_EPOCH; // expired ones are replaced too
    if let Some(PostTree::Crud(old)) = show(table, crud.uuid, before_all).await? {
        let old_items = thread_items(&old.activity, &flattened(old.replies))?;
        let removals: Vec<Write> =
            old_items.into_iter().map(|item| Write::Delete(item.key)).collect();
        table.transact_write(&removals, crud.created_at).await?;
    }
    let items = thread_items(crud, replies)?;
    let writes: Vec<Write> = items.into_iter().map(Write::Put).collect();
    table.transact_write(&writes, crud.created_at).await
}

fn flattened(trees: Vec<ReplyTree>) -> Vec<Reply> {
    let below = |tree: ReplyTree| {
        let mut replies = vec![tree.reply];
        replies.extend(flattened(tree.replies));
        replies
    };
    trees.into_iter().flat_map(below).collect()
}

fn thread_items(crud: &Activity, replies: &[Reply]) -> Result<Vec<Item>, StoreError> {
    let author_of = |uuid: Uuid| -> &Handle {
        let parent = replies.iter().find(|reply| reply.uuid == uuid);
        parent.map_or(&crud.handle, |parent| &parent.handle)
    };
    let mut items = posts::crud_items(crud)?;
    for reply in replies {
        let parent_author = author_of(reply.reply_to_activity_uuid);
        items.extend(posts::reply_items(reply, &crud.handle, parent_author)?);
    }
    Ok(items)
}

/// The newest items of all shards. Where a shard was not read to its end, nothing is known of what
/// lies behind, so the page ends there for all of them.
fn merge(shards: Vec<Page>, limit: usize) -> Listed<Item> {
    let position = |item: &Item| item.listing.as_ref().map(|key| key.sort.clone());
    let read_to = shards.iter().filter_map(|page| page.next.clone()).max();
    let items = shards.into_iter().flat_map(|page| page.items);
    let mut entries: Vec<Item> = items.filter(|item| position(item) >= read_to).collect();
    entries.sort_by_cached_key(|item| std::cmp::Reverse(position(item)));
    let next = match entries.len() > limit {
        true => entries.get(limit - 1).and_then(position),
        false => read_to,
    };
    entries.truncate(limit);
    Listed { entries, next }
}

/// The threads of `cruds`, with one query for each that has replies.
pub(super) async fn with_replies(
    table: &dyn Table,
    cruds: Vec<Activity>,
    now: Timestamp,
) -> Result<Vec<Thread>, StoreError> {
    let limit = FEED_REPLIES.min(PAGE_REPLIES / cruds.len().max(1));
    let answered = cruds.iter().filter(|crud| crud.counters.replies > 0);
    let threads: Vec<Query> = answered
        .map(|crud| Query {
            index: None,
            partition: keys::thread_partition(crud.uuid),
            between: Some(keys::replies_down_to(FEED_DEPTH)),
            order: Order::Ascending,
            after: None,
            limit,
            now,
        })
        .collect();
    let pages = if threads.is_empty() { Vec::new() } else { table.query(&threads).await? };
    let mut pages = pages.into_iter();
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
