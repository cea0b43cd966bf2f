//! Adds a thread of demo data.

use std::collections::BTreeSet;

use cruddur::{
    domain::{Activity, Entry, Reply, UserKey},
    store::{
        Consistency, Item, Key, MAX_WRITES, Order, Query, StoreError, Table, Write,
        codec::{self, Recipient},
        keys, users,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

/// Writes an activity and its replies, counters included. `false`, and nothing changes, if the
/// activity is there, or what its author's deletion left of it.
pub(crate) async fn add(
    table: &dyn Table,
    activity: Activity,
    replies: Vec<Reply>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let root = [keys::activity(activity.uuid)];
    if table.get(&root, Consistency::Strong, now).await?.iter().any(Option::is_some) {
        return Ok(false);
    }
    remove(table, activity.uuid).await?; // the rest of an expired one
    publish(table, activity, replies).await?;
    Ok(true)
}

/// Removes the activity `uuid`, the replies below it, their notifications and the likes of all of
/// them.
///
/// The items may be more than fit into one transaction, so a reader may see a part of the thread in
/// the meantime.
async fn remove(table: &dyn Table, uuid: Uuid) -> Result<(), StoreError> {
    let mut entries = Vec::new();
    for item in all_of(table, keys::thread_partition(uuid)).await? {
        entries.push(codec::read_entry(item)?);
    }
    // The notes of likes are nothing that an entry knows of.
    let mut keys: BTreeSet<Key> =
        thread_items(table, &entries).await?.into_iter().map(|item| item.key).collect();
    for entry in &entries {
        let likes = all_of(table, keys::likes_partition(entry.uuid())).await?;
        keys.extend(likes.into_iter().map(|item| item.key));
    }
    write(table, keys.into_iter().map(Write::DeleteIfPresent).collect()).await
}

/// Writes an activity and its replies, counters included.
async fn publish(
    table: &dyn Table,
    activity: Activity,
    replies: Vec<Reply>,
) -> Result<(), StoreError> {
    let mut entries = vec![Entry::Activity(activity)];
    entries.extend(replies.into_iter().map(Entry::Reply));
    let items = thread_items(table, &entries).await?;
    write(table, items.into_iter().map(Write::Upsert).collect()).await
}

async fn thread_items(table: &dyn Table, entries: &[Entry]) -> Result<Vec<Item>, StoreError> {
    let now = Timestamp::UNIX_EPOCH;
    let author_of = |uuid: Uuid| -> Option<UserKey> {
        entries.iter().find(|entry| entry.uuid() == uuid).map(Entry::author)
    };
    let mut items = Vec::new();
    for entry in entries {
        match entry {
            Entry::Activity(activity) => {
                let mut notified = users::mentioned(table, activity.message.as_str(), now).await?;
                notified.remove(&Recipient::User(activity.author));
                items.extend(codec::activity_items(activity, &notified)?);
                items.extend(codec::word_items(activity));
            }
            Entry::Reply(reply) => {
                let mut notified = users::mentioned(table, reply.message.as_str(), now).await?;
                let answered = [reply.root_uuid, reply.reply_to_activity_uuid].map(author_of);
                notified.extend(answered.into_iter().flatten().map(Recipient::User));
                notified.remove(&Recipient::User(reply.author));
                items.extend(codec::reply_items(reply, &notified)?);
            }
        }
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
        consistency: Consistency::Strong,
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
        domain::{Counters, EntryTree, Handle, LongText, MessageText},
        store::{PageRequest, engines::sqlite::SqliteTable, feeds, likes, threads},
    };
    use jiff::SignedDuration;

    use super::*;

    const ALL: PageRequest = PageRequest { limit: 100, after: None };

    fn key(name: &str) -> UserKey {
        UserKey::of_token("", name).unwrap()
    }

    fn activity(created_at: Timestamp) -> Activity {
        Activity {
            uuid: Uuid::from_u128(1),
            author: key("andrew"),
            message: MessageText::parse("Hello @worf #rust").unwrap(),
            created_at,
            expires_at: created_at + SignedDuration::from_hours(24),
            counters: Counters { likes: 5, replies: 1, ..Counters::default() },
        }
    }

    fn reply(uuid: u128, activity: &Activity, author: &str, created_at: Timestamp) -> Reply {
        Reply {
            uuid: Uuid::from_u128(uuid),
            root_uuid: activity.uuid,
            reply_to_activity_uuid: activity.uuid,
            depth: 1,
            author: key(author),
            message: LongText::parse("Qapla'").unwrap(),
            created_at,
            expires_at: activity.expires_at,
            counters: Counters::default(),
        }
    }

    async fn seed(table: &SqliteTable, now: Timestamp) -> bool {
        let activity = activity(now);
        let reply = reply(2, &activity, "worf", now);
        add(table, activity, vec![reply], now).await.unwrap()
    }

    #[tokio::test]
    async fn a_thread_that_is_there_stays_as_its_users_have_made_it() {
        let table = SqliteTable::open(Path::new(":memory:")).unwrap();
        let now: Timestamp = "2100-01-01T12:00:00Z".parse().unwrap();
        assert!(seed(&table, now - SignedDuration::from_hours(20)).await);
        let id = Uuid::from_u128(1);
        let entry = threads::find(&table, id, now).await.unwrap().unwrap();
        let other = Reply { expires_at: entry.expires_at(), ..reply(3, &activity(now), "q", now) };
        assert!(threads::reply(&table, &entry, &other, None, now).await.unwrap());
        assert!(likes::set_liked(&table, &entry, key("worf"), true, now).await.unwrap());
        let before = threads::show(&table, id, &ALL, now).await.unwrap().unwrap().tree;

        assert!(!seed(&table, now).await);

        assert_eq!(threads::show(&table, id, &ALL, now).await.unwrap().unwrap().tree, before);
        let entry = threads::find(&table, id, now).await.unwrap().unwrap();
        assert!(threads::delete(&table, &entry, now).await.unwrap());
        assert!(!seed(&table, now).await);
        assert_eq!(threads::find(&table, id, now).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_thread_that_has_expired_is_added_again_once_and_as_new() {
        let table = SqliteTable::open(Path::new(":memory:")).unwrap();
        let now: Timestamp = "2100-01-01T12:00:00Z".parse().unwrap();
        let worf = key("worf");
        seed(&table, now - SignedDuration::from_hours(20)).await;
        let id = Uuid::from_u128(1);
        let later = now + SignedDuration::from_hours(5);
        let old = threads::find(&table, id, now).await.unwrap().unwrap();
        for n in 100..250 {
            let other =
                reply(n, &activity(old.expires_at() - SignedDuration::from_hours(24)), "q", now);
            assert!(threads::reply(&table, &old, &other, None, now).await.unwrap());
        }
        assert!(likes::set_liked(&table, &old, worf, true, now).await.unwrap());

        seed(&table, later).await;

        let new = threads::show(&table, id, &ALL, later).await.unwrap().unwrap();
        let EntryTree::Activity(thread) = new.tree else { panic!("an activity") };
        assert_eq!((thread.activity, thread.replies.len()), (activity(later), 1));
        let home = feeds::home(&table, &ALL, later).await.unwrap().entries;
        let feed = feeds::of_user(&table, key("andrew"), &ALL, later).await.unwrap().entries;
        let found = feeds::search(&table, &["rust".to_owned()], &ALL, later).await.unwrap().entries;
        let handles = [Handle::parse("worf").unwrap()]; // mentioned before the first write
        let told = feeds::notifications(&table, worf, &handles, &ALL, later).await.unwrap().entries;
        assert_eq!([home.len(), feed.len(), found.len(), told.len()], [1, 1, 1, 1]);
        // Likes of the old thread do not count for the new one.
        let entry = threads::find(&table, id, later).await.unwrap().unwrap();
        assert!(likes::set_liked(&table, &entry, worf, true, later).await.unwrap());
        let entry = threads::find(&table, id, later).await.unwrap().unwrap();
        assert_eq!(entry.counters().likes, 6);
    }
}
