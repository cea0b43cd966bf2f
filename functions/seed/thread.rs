//! A thread of demo data, in place of what it was before.

use std::collections::BTreeSet;

use cruddur::{
    domain::{Activity, Handle, Post, Reply},
    store::{Item, Key, MAX_WRITES, Order, Query, StoreError, Table, Write, codec, keys},
};
use jiff::Timestamp;
use uuid::Uuid;

/// Removes the crud `uuid` with all that belongs to it: what others have replied in the meantime,
/// whom that was told to, and who likes any of it.
///
/// Not in one transaction, since there may be more than fits into one: who reads meanwhile may see a
/// part of it.
pub(crate) async fn remove(table: &dyn Table, uuid: Uuid) -> Result<(), StoreError> {
    let mut posts = Vec::new();
    for item in all_of(table, keys::thread_partition(uuid)).await? {
        posts.push(codec::read_post(item)?);
    }
    // The notes of likes are nothing that a post knows of.
    let mut keys: BTreeSet<Key> = thread_items(&posts)?.into_iter().map(|item| item.key).collect();
    for post in &posts {
        let likes = all_of(table, keys::likes_partition(post.uuid())).await?;
        keys.extend(likes.into_iter().map(|item| item.key));
    }
    write(table, keys.into_iter().map(Write::Delete).collect()).await
}

/// Writes a crud and its replies, counters included.
pub(crate) async fn publish(
    table: &dyn Table,
    crud: Activity,
    replies: Vec<Reply>,
) -> Result<(), StoreError> {
    let mut posts = vec![Post::Crud(crud)];
    posts.extend(replies.into_iter().map(Post::Reply));
    write(table, thread_items(&posts)?.into_iter().map(Write::Put).collect()).await
}

fn thread_items(posts: &[Post]) -> Result<Vec<Item>, StoreError> {
    let author_of = |uuid: Uuid, author: &Handle| -> Handle {
        let post = posts.iter().find(|post| post.uuid() == uuid);
        post.map_or(author, Post::handle).clone()
    };
    let mut items = Vec::new();
    for post in posts {
        items.extend(match post {
            Post::Crud(crud) => codec::crud_items(crud)?,
            Post::Reply(reply) => {
                let root = author_of(reply.root_uuid, &reply.handle);
                let parent = author_of(reply.reply_to_activity_uuid, &reply.handle);
                codec::reply_items(reply, &root, &parent)?
            }
        });
    }
    Ok(items)
}

/// All items of a partition, expired ones too.
async fn all_of(table: &dyn Table, partition: String) -> Result<Vec<Item>, StoreError> {
    let mut query = Query {
        index: None,
        partition,
        between: None,
        order: Order::Ascending,
        after: None,
        limit: MAX_WRITES,
        now: Timestamp::UNIX_EPOCH,
    };
    let mut items = Vec::new();
    loop {
        for page in table.query(std::slice::from_ref(&query)).await? {
            items.extend(page.items);
            query.after = page.next;
        }
        if query.after.is_none() {
            return Ok(items);
        }
    }
}

async fn write(table: &dyn Table, writes: Vec<Write>) -> Result<(), StoreError> {
    for writes in writes.chunks(MAX_WRITES) {
        table.transact_write(writes, Timestamp::UNIX_EPOCH).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cruddur::{
        domain::{Counters, LongText, MessageText, PostTree, UserKey},
        store::{PageRequest, engines::sqlite::SqliteTable, feeds, likes, threads},
    };
    use jiff::SignedDuration;

    use super::*;

    const ALL: PageRequest = PageRequest { limit: 100, after: None };

    fn handle(text: &str) -> Handle {
        Handle::parse(text).unwrap()
    }

    fn crud(created_at: Timestamp) -> Activity {
        Activity {
            uuid: Uuid::from_u128(1),
            handle: handle("andrew"),
            display_name: None,
            message: MessageText::parse("Hello @worf #rust").unwrap(),
            created_at,
            expires_at: created_at + SignedDuration::from_hours(24),
            counters: Counters { likes: 5, replies: 1, reposts: 0 },
        }
    }

    fn reply(uuid: u128, crud: &Activity, author: &str, created_at: Timestamp) -> Reply {
        Reply {
            uuid: Uuid::from_u128(uuid),
            root_uuid: crud.uuid,
            reply_to_activity_uuid: crud.uuid,
            depth: 1,
            handle: handle(author),
            display_name: None,
            message: LongText::parse("Qapla'").unwrap(),
            created_at,
            expires_at: crud.expires_at,
            counters: Counters::default(),
        }
    }

    async fn seed(table: &SqliteTable, now: Timestamp) {
        let crud = crud(now);
        let reply = reply(2, &crud, "worf", now);
        remove(table, crud.uuid).await.unwrap();
        publish(table, crud, vec![reply]).await.unwrap();
    }

    #[tokio::test]
    async fn a_thread_that_is_written_again_is_there_once_and_as_new() {
        let table = SqliteTable::open(Path::new(":memory:")).unwrap();
        let now: Timestamp = "2100-01-01T12:00:00Z".parse().unwrap();
        let worf = UserKey::parse("worf").unwrap();
        seed(&table, now - SignedDuration::from_hours(20)).await;
        let id = Uuid::from_u128(1);
        let old = threads::find(&table, id, now).await.unwrap().unwrap();
        for n in 100..250 {
            let other =
                reply(n, &crud(old.expires_at() - SignedDuration::from_hours(24)), "q", now);
            assert!(threads::reply(&table, &old, &other, None, now).await.unwrap());
        }
        assert!(likes::set(&table, &old, &worf, true, now).await.unwrap());

        seed(&table, now).await;

        let new = threads::show(&table, id, &ALL, now).await.unwrap().unwrap();
        let PostTree::Crud(thread) = new.tree else { panic!("a crud") };
        assert_eq!((thread.activity, thread.replies.len()), (crud(now), 1));
        let home = feeds::home(&table, &ALL, now).await.unwrap().entries;
        let feed = feeds::of_user(&table, &handle("andrew"), &ALL, now).await.unwrap().entries;
        let found = feeds::search(&table, &["rust".to_owned()], &ALL, now).await.unwrap().entries;
        let told = [handle("worf")];
        let told = feeds::notifications(&table, &told, &ALL, now).await.unwrap().entries;
        assert_eq!([home.len(), feed.len(), found.len(), told.len()], [1, 1, 1, 1]);
        // Who liked the old one has not liked the new one yet.
        let post = threads::find(&table, id, now).await.unwrap().unwrap();
        assert!(likes::set(&table, &post, &worf, true, now).await.unwrap());
        let post = threads::find(&table, id, now).await.unwrap().unwrap();
        assert_eq!(post.counters().likes, 6);
    }
}
