//! Conversations and their messages.

use cruddur::domain::{LongText, Message, MessageGroup, User, UserKey, conversation_uuid};
use cruddur::store::{messages, users};
use cruddur_tests::Store;
use futures_util::future::join_all;
use jiff::SignedDuration;
use uuid::Uuid;

use super::world::*;
use super::*;

on_both_stores! {
    a_conversation_is_the_same_for_both,
    a_conversation_is_with_the_other_one_as_they_are_called_now,
    parallel_first_messages_make_one_conversation,
    messages_come_in_pages_and_groups_by_their_last_message,
    a_message_that_comes_late_does_not_go_before_a_newer_one,
    messages_at_the_same_time_leave_the_newest_on_top,
    only_the_two_have_part_in_a_conversation,
    messages_do_not_expire,
}

fn message(from: &User, to: UserKey, text: &str, minutes_ago: i64) -> Message {
    Message {
        uuid: Uuid::new_v4(),
        group_uuid: conversation_uuid(from.key, to),
        from: from.key,
        message: LongText::parse(text).unwrap(),
        created_at: ago(minutes_ago),
    }
}

async fn send(table: &dyn Table, from: &User, to: &User, text: &str, minutes_ago: i64) -> Message {
    let message = message(from, to.key, text, minutes_ago);
    messages::send(table, to.key, &message, None, now()).await.unwrap();
    message
}

/// What a user sees of their conversations, once the index shows so many.
async fn groups(table: &dyn Table, of: &User, count: usize) -> Vec<(String, String)> {
    let ask = || async {
        let groups = messages::groups(table, of.key, &first(40), now()).await.unwrap().entries;
        let others = groups.iter().map(|group| group.other).collect();
        let people = users::people(table, others, now()).await.unwrap();
        let row = |group: &MessageGroup| {
            let other = &people.names_of(group.other).handle;
            (other.to_string(), group.message.to_string())
        };
        groups.iter().map(row).collect()
    };
    eventually(ask, |groups: &Vec<_>| groups.len() == count).await
}

async fn a_conversation_is_the_same_for_both(store: Store) {
    let table = store.table();
    let [andrew, worf] = [user(table, "andrew").await, user(table, "worf").await];

    let first_one = send(table, &andrew, &worf, "Hello", 9).await;
    let second = send(table, &worf, &andrew, "What is it?", 8).await;

    let group = conversation_uuid(worf.key, andrew.key);
    let read = messages::messages(table, group, &first(40), now()).await.unwrap().entries;
    assert_eq!(read, [second, first_one]);
    let row = |who: &str| vec![(who.to_owned(), "What is it?".to_owned())];
    assert_eq!(groups(table, &andrew, 1).await, row("worf"));
    assert_eq!(groups(table, &worf, 1).await, row("andrew"));
}

async fn a_conversation_is_with_the_other_one_as_they_are_called_now(store: Store) {
    let table = store.table();
    let [andrew, worf] = [user(table, "andrew").await, user(table, "worf").await];
    send(table, &worf, &andrew, "Hello", 9).await;

    users::get_or_create(table, &chosen("sub-worf", "ambassador"), now()).await.unwrap().unwrap();
    let month = now() + SignedDuration::from_hours(30 * 24);
    let heir = users::get_or_create(table, &identity("sub-heir", "worf"), month).await.unwrap();

    assert_eq!(heir.unwrap().handle, handle("worf"));
    let row = ("ambassador".to_owned(), "Hello".to_owned());
    assert_eq!(groups(table, &andrew, 1).await, [row]);
}

async fn parallel_first_messages_make_one_conversation(store: Store) {
    let [andrew, worf] = [user(store.table(), "andrew").await, user(store.table(), "worf").await];

    let sends = (0..10).map(|n| {
        let table = store.connect();
        let (from, to) = if n % 2 == 0 { (&andrew, &worf) } else { (&worf, &andrew) };
        let (from, to) = (from.clone(), to.clone());
        tokio::spawn(async move { send(table.as_ref(), &from, &to, "Hello", n).await })
    });
    for sent in join_all(sends).await {
        sent.unwrap();
    }

    let group = conversation_uuid(worf.key, andrew.key);
    let read = messages::messages(store.table(), group, &first(40), now()).await.unwrap().entries;
    assert_eq!(read.len(), 10);
    assert_eq!(groups(store.table(), &andrew, 1).await.len(), 1);
    assert_eq!(groups(store.table(), &worf, 1).await.len(), 1);
}

async fn messages_come_in_pages_and_groups_by_their_last_message(store: Store) {
    let table = store.table();
    let andrew = user(table, "andrew").await;
    let others = [user(table, "worf").await, user(table, "data").await, user(table, "q").await];
    for (n, other) in others.iter().enumerate() {
        send(table, &andrew, other, "Hello", 50 - n as i64).await;
    }
    let mut sent = Vec::new();
    for minutes in (10..30).rev() {
        sent.insert(0, send(table, &others[0], &andrew, "Qapla'", minutes).await.uuid);
    }

    let group = conversation_uuid(andrew.key, others[0].key);
    let read = async |page| messages::messages(table, group, &page, now()).await.unwrap();
    let mut seen: Vec<Uuid> = all_pages(7, read).await.iter().map(|one| one.uuid).collect();
    assert_eq!(seen.len(), 21);
    seen.pop(); // the "Hello"
    assert_eq!(seen, sent);
    let ask = || groups(table, &andrew, 3);
    let rows = eventually(ask, |rows| rows[0].0 == "worf").await;
    let order: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(order, ["worf", "q", "data"]);
}

async fn a_message_that_comes_late_does_not_go_before_a_newer_one(store: Store) {
    let table = store.table();
    let [andrew, worf] = [user(table, "andrew").await, user(table, "worf").await];
    let newer = send(table, &worf, &andrew, "newer", 5).await;

    let older = send(table, &andrew, &worf, "older, but throttled meanwhile", 6).await;

    let read = messages::messages(table, newer.group_uuid, &first(40), now()).await.unwrap();
    assert_eq!(read.entries, [newer, older]);
    for of in [&andrew, &worf] {
        assert_eq!(groups(table, of, 1).await[0].1, "newer");
    }
}

async fn messages_at_the_same_time_leave_the_newest_on_top(store: Store) {
    let [andrew, worf] = [user(store.table(), "andrew").await, user(store.table(), "worf").await];

    let sends = (0..20).map(|n| {
        let (table, from, to) = (store.connect(), andrew.clone(), worf.clone());
        let text = n.to_string();
        tokio::spawn(async move { send(table.as_ref(), &from, &to, &text, n).await })
    });
    for sent in join_all(sends).await {
        sent.unwrap();
    }

    for of in [&andrew, &worf] {
        let ask = || groups(store.table(), of, 1);
        assert_eq!(eventually(ask, |rows| rows[0].1 == "0").await[0].1, "0");
    }
}

async fn only_the_two_have_part_in_a_conversation(store: Store) {
    let table = store.table();
    let [andrew, worf, q] =
        [user(table, "andrew").await, user(table, "worf").await, user(table, "q").await];
    let group = send(table, &andrew, &worf, "Hello", 9).await.group_uuid;

    let other =
        async |of: &User| messages::other_member(table, of.key, group, now()).await.unwrap();

    assert_eq!(other(&andrew).await, Some(worf.key));
    assert_eq!(other(&worf).await, Some(andrew.key));
    assert_eq!(other(&q).await, None);
    assert_eq!(groups(table, &q, 0).await, []);
}

async fn messages_do_not_expire(store: Store) {
    let table = store.table();
    let [andrew, worf] = [user(table, "andrew").await, user(table, "worf").await];
    let group = send(table, &andrew, &worf, "Hello", 9).await.group_uuid;

    let much_later = now() + SignedDuration::from_hours(24 * 365 * 50);
    publish(table, activity("andrew", "purge", 0)).await;
    let read = messages::messages(table, group, &first(40), much_later).await.unwrap().entries;

    assert_eq!(read.len(), 1);
}
