//! Activities, replies and users to write, for the tests of the access patterns.

use cruddur::domain::{
    Activity, Counters, Entry, EntryTree, Handle, Identity, LongText, MessageText, Reply, User,
    UserKey,
};
use cruddur::store::{PageOf, PageRequest, Table, threads, users};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::now;

pub(super) fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

pub(super) fn after(minutes: i64) -> Timestamp {
    now() + SignedDuration::from_mins(minutes)
}

pub(super) fn handle(text: &str) -> Handle {
    Handle::parse(text).unwrap()
}

/// An activity that lives for an hour more.
pub(super) fn activity(author: &str, text: &str, minutes_ago: i64) -> Activity {
    Activity {
        uuid: Uuid::new_v4(),
        author: key_of(author),
        message: MessageText::parse(text).unwrap(),
        created_at: ago(minutes_ago),
        expires_at: after(60),
        counters: Counters::default(),
    }
}

pub(super) fn reply_to(parent: &Entry, author: &str, minutes_ago: i64) -> Reply {
    Reply {
        uuid: Uuid::new_v4(),
        root_uuid: parent.root_uuid(),
        reply_to_activity_uuid: parent.uuid(),
        depth: parent.depth().saturating_add(1),
        author: key_of(author),
        message: LongText::parse("Indeed").unwrap(),
        created_at: ago(minutes_ago),
        expires_at: parent.expires_at(),
        counters: Counters::default(),
    }
}

pub(super) async fn publish(table: &dyn Table, activity: Activity) -> Activity {
    threads::publish(table, &activity, None, now()).await.unwrap();
    activity
}

/// Writes a reply, which must succeed.
pub(super) async fn answer(
    table: &dyn Table,
    parent: &Entry,
    author: &str,
    minutes_ago: i64,
) -> Reply {
    let reply = reply_to(parent, author, minutes_ago);
    assert!(threads::reply(table, parent, &reply, None, now()).await.unwrap());
    reply
}

pub(super) async fn found(table: &dyn Table, uuid: Uuid) -> Option<Entry> {
    threads::find(table, uuid, now()).await.unwrap()
}

/// The key of the user of this name, before or after the first write.
pub(super) fn key_of(name: &str) -> UserKey {
    identity(&format!("sub-{name}"), name).key
}

pub(super) fn identity(sub: &str, handle_text: &str) -> Identity {
    Identity {
        key: UserKey::of_token("", sub).unwrap(),
        handle: handle(handle_text),
        handle_is_chosen: false,
        name: None,
    }
}

/// A token with a handle that the user has chosen.
pub(super) fn chosen(sub: &str, handle_text: &str) -> Identity {
    Identity { handle_is_chosen: true, ..identity(sub, handle_text) }
}

/// A user with a first write.
pub(super) async fn user(table: &dyn Table, name: &str) -> User {
    users::get_or_create(table, &identity(&format!("sub-{name}"), name), now())
        .await
        .unwrap()
        .unwrap()
}

/// The id of an entry of a list.
pub(super) fn uuid_of(entry: &EntryTree) -> Uuid {
    match entry {
        EntryTree::Activity(thread) => thread.activity.uuid,
        EntryTree::Reply(tree) => tree.reply.uuid,
    }
}

pub(super) fn first(limit: usize) -> PageRequest {
    PageRequest { limit, after: None }
}

/// Reads page after page to the end, each of at most `limit` entries.
pub(super) async fn all_pages<T>(
    limit: usize,
    read: impl AsyncFn(PageRequest) -> PageOf<T>,
) -> Vec<T> {
    let mut all = Vec::new();
    let mut request = first(limit);
    for _ in 0..200 {
        let page = read(request.clone()).await;
        assert!(page.entries.len() <= limit, "{} entries", page.entries.len());
        all.extend(page.entries);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return all,
        }
    }
    panic!("the pages do not end");
}
