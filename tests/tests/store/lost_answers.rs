//! Writes whose answer is lost: each is repeated under its token and done once.

use cruddur::domain::{Entry, LongText, Message, conversation_uuid, search_words};
use cruddur::store::quota::{self, Kind};
use cruddur::store::{feeds, likes, messages, threads, users};
use cruddur_tests::{Answer, Proxy, Store};
use uuid::Uuid;

use super::world::*;
use super::*;

const WRITE: &str = "TransactWriteItems";

/// Runs `write` with the answer of its last request of this operation lost, or the connection
/// closed, and asserts that it was repeated.
async fn with_a_lost_answer<T>(
    proxy: &Proxy,
    operation: &'static str,
    write: impl AsyncFnOnce() -> T,
) -> T {
    let before = proxy.bodies(operation).len();
    proxy.next_answer(operation, Answer::Lost);
    let done = write().await;
    let bodies = proxy.bodies(operation).split_off(before);
    assert_eq!(bodies.len(), 2, "{operation}");
    assert_eq!(bodies[0], bodies[1]);
    done
}

#[tokio::test]
async fn activities_replies_and_likes_are_written_once() {
    let (store, proxy) = Store::behind_proxy().await;
    let table = store.table();
    let root = activity("andrew", "prune juice for @worf", 9);
    let entry = Entry::Activity(root.clone());

    with_a_lost_answer(&proxy, "BatchWriteItem", async || {
        with_a_lost_answer(&proxy, WRITE, async || publish(table, root.clone()).await).await
    })
    .await;
    let reply = Entry::Reply(
        with_a_lost_answer(&proxy, WRITE, async || answer(table, &entry, "worf", 8).await).await,
    );
    let like = async |entry: &Entry, liked| {
        let set = likes::set_liked(table, entry, key_of("worf"), liked, now());
        assert!(set.await.unwrap());
    };
    for entry in [&entry, &reply] {
        with_a_lost_answer(&proxy, WRITE, async || like(entry, true).await).await;
    }
    with_a_lost_answer(&proxy, WRITE, async || like(&reply, false).await).await;

    let counters = async |entry: &Entry| found(table, entry.uuid()).await.unwrap().counters();
    assert_eq!((counters(&entry).await.likes, counters(&entry).await.replies), (1, 1));
    assert_eq!(counters(&reply).await.likes, 0);
    let page = first(40);
    let found = feeds::search(table, &search_words("juice"), &page, now()).await.unwrap().entries;
    let feed = feeds::of_user(table, key_of("andrew"), &page, now()).await.unwrap().entries;
    let handles = [handle("worf")];
    let notified = feeds::notifications(table, key_of("worf"), &handles, &page, now()).await;
    assert_eq!([found.len(), feed.len(), notified.unwrap().entries.len()], [1; 3]);
}

#[tokio::test]
async fn deletions_are_done_once() {
    let (store, proxy) = Store::behind_proxy().await;
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "prune juice", 9)).await);
    let mut replies = Vec::new();
    for minutes in [8, 7] {
        replies.push(Entry::Reply(answer(table, &root, "worf", minutes).await));
    }
    let below = Entry::Reply(answer(table, &replies[1], "data", 6).await);
    let delete = async |entry: &Entry| {
        with_a_lost_answer(&proxy, WRITE, async || threads::delete(table, entry, now()).await)
            .await
            .unwrap()
    };
    let replies_to = async |entry: &Entry| {
        found(table, entry.uuid()).await.map(|entry| entry.counters().replies)
    };

    assert!(delete(&replies[0]).await);
    assert_eq!((replies_to(&root).await, replies_to(&replies[0]).await), (Some(1), None));
    assert!(delete(&below).await);
    assert_eq!((replies_to(&replies[1]).await, replies_to(&below).await), (Some(0), None));
    assert!(delete(&root).await);
    assert_eq!((replies_to(&root).await, replies_to(&replies[1]).await), (None, Some(0)));

    let before = store.dump().await;
    assert!(!threads::delete(table, &root, now()).await.unwrap());
    assert_eq!(store.dump().await, before);
}

#[tokio::test]
async fn a_write_is_counted_once_in_its_quota() {
    let (store, proxy) = Store::behind_proxy().await;
    let spend =
        async || quota::spend(store.table(), key_of("worf"), Kind::Texts, 2, now()).await.unwrap();

    let first = with_a_lost_answer(&proxy, WRITE, spend).await;
    let last = with_a_lost_answer(&proxy, WRITE, spend).await;
    let refused = with_a_lost_answer(&proxy, WRITE, spend).await;

    assert_eq!((first, last), (None, None));
    assert!(refused.is_some());
}

#[tokio::test]
async fn users_handles_and_profiles_are_written_once() {
    let (store, proxy) = Store::behind_proxy().await;
    let table = store.table();

    let made = with_a_lost_answer(&proxy, WRITE, async || user(table, "worf").await).await;
    let renamed = with_a_lost_answer(&proxy, WRITE, async || {
        users::get_or_create(table, &chosen("sub-worf", "ambassador"), now()).await.unwrap()
    })
    .await;
    let name = cruddur::domain::DisplayName::parse("Lt. Worf").unwrap();
    with_a_lost_answer(&proxy, WRITE, async || {
        users::update_profile(table, made.key, &name, None, None, now()).await.unwrap();
    })
    .await;

    let renamed = renamed.unwrap();
    assert_eq!((renamed.key, &renamed.handle), (made.key, &handle("ambassador")));
    for known in ["worf", "ambassador"] {
        let user = users::by_handle(table, &handle(known), now()).await.unwrap().unwrap();
        assert_eq!((user.key, user.display_name), (made.key, name.clone()), "{known}");
    }
}

#[tokio::test]
async fn messages_and_answered_requests_are_written_once() {
    let (store, proxy) = Store::behind_proxy().await;
    let table = store.table();
    let (andrew, worf) = (key_of("andrew"), key_of("worf"));
    let send = async |from, to, minutes| {
        let message = Message {
            uuid: Uuid::new_v4(),
            group_uuid: conversation_uuid(from, to),
            from,
            message: LongText::parse("Hello").unwrap(),
            created_at: ago(minutes),
        };
        messages::send(table, to, &message, None, now()).await.unwrap();
    };

    with_a_lost_answer(&proxy, WRITE, async || send(andrew, worf, 2).await).await;
    with_a_lost_answer(&proxy, WRITE, async || send(worf, andrew, 1).await).await;
    let request = cruddur::store::idempotency::IdempotentRequest::new(worf, "/x", "k", &[b"body"]);
    let note = request.remember("the answer", now()).unwrap();
    let written = activity("worf", "once", 0);
    with_a_lost_answer(&proxy, WRITE, async || {
        // Not an `AnsweredBefore`: the request that was answered is this one.
        threads::publish(table, &written, Some(note.clone()), now()).await.unwrap();
    })
    .await;

    let group = conversation_uuid(andrew, worf);
    let read = messages::messages(table, group, &first(40), now()).await.unwrap().entries;
    let groups = messages::groups(table, andrew, &first(40), now()).await.unwrap().entries;
    let feed = feeds::of_user(table, worf, &first(40), now()).await.unwrap().entries;
    assert_eq!([read.len(), groups.len(), feed.len()], [2, 1, 1]);
}
