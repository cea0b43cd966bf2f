//! Users, notifications, conversations, and requests that are done once.

use cruddur::domain::{
    Entry, EntryTree, Identity, LongText, Message, MessageText, User, UserKey, conversation_uuid,
};
use cruddur::store::idempotency::{IdempotentRequest, Lookup};
use cruddur::store::{feeds, messages, threads, users};
use cruddur_tests::Store;
use futures_util::future::join_all;
use jiff::SignedDuration;
use uuid::Uuid;

use super::world::*;
use super::*;

on_both_stores! {
    a_user_is_made_once_however_many_writes_come_first,
    a_handle_belongs_to_who_had_it_first,
    a_handle_changes_only_to_one_that_was_chosen,
    a_former_handle_is_kept_for_a_month_and_nobody_holds_a_third,
    of_two_changes_at_once_one_is_made,
    notices_follow_a_user_to_a_new_handle,
    a_profile_is_replaced,
    others_replies_and_mentions_are_notified_newest_first,
    a_conversation_is_the_same_for_both,
    a_conversation_is_with_the_other_one_as_they_are_called_now,
    parallel_first_messages_make_one_conversation,
    messages_come_in_pages_and_groups_by_their_last_message,
    a_message_that_comes_late_does_not_go_before_a_newer_one,
    messages_at_the_same_time_leave_the_newest_on_top,
    only_the_two_have_part_in_a_conversation,
    messages_do_not_expire,
    a_request_is_done_once_and_its_answer_kept_for_a_day,
    of_equal_requests_at_once_one_is_done,
}

async fn a_user_is_made_once_however_many_writes_come_first(store: Store) {
    let makers = (0..10).map(|_| {
        let table = store.connect();
        tokio::spawn(async move { user(table.as_ref(), "worf").await })
    });
    let made: Vec<User> = join_all(makers).await.into_iter().map(Result::unwrap).collect();

    let known = users::by_handle(store.table(), &handle("WORF "), now()).await.unwrap().unwrap();
    for user in made {
        assert_eq!(user, known);
    }
    assert_eq!((known.handle, known.display_name.as_str()), (handle("worf"), "worf"));
    assert_eq!(users::by_handle(store.table(), &handle("data"), now()).await.unwrap(), None);
}

async fn a_handle_belongs_to_who_had_it_first(store: Store) {
    let table = store.table();
    let [first, second] = [identity("sub-1", "worf"), identity("sub-2", "worf")];
    let claims = [first.clone(), second.clone()].map(|claim| {
        let table = store.connect();
        tokio::spawn(
            async move { users::get_or_create(table.as_ref(), &claim, now()).await.unwrap() },
        )
    });
    let made: Vec<User> = join_all(claims).await.into_iter().filter_map(Result::unwrap).collect();

    assert_eq!(made.len(), 1, "{made:?}");
    let owner = users::by_handle(table, &handle("worf"), now()).await.unwrap().unwrap();
    assert_eq!(owner, made[0]);
    for identity in [first, second] {
        let is_owner = identity.key == owner.key;
        let handles = users::handles_of(table, &identity, now()).await.unwrap();
        assert_eq!(handles.is_some(), is_owner);
    }
}

fn chosen(sub: &str, handle_text: &str) -> Identity {
    Identity { handle_is_chosen: true, ..identity(sub, handle_text) }
}

async fn a_handle_changes_only_to_one_that_was_chosen(store: Store) {
    let table = store.table();
    let worf = user(table, "worf").await;
    let sub = "sub-worf";

    // What access tokens say, and id tokens before anything was chosen.
    for other in ["7f3c-user-name", "worf", "google_117"] {
        let same = users::get_or_create(table, &identity(sub, other), now()).await.unwrap();
        assert_eq!(same, Some(worf.clone()), "{other}");
    }

    let renamed =
        users::get_or_create(table, &chosen(sub, "ambassador"), now()).await.unwrap().unwrap();
    assert_eq!((renamed.key, &renamed.handle), (worf.key, &handle("ambassador")));
    for token in [identity(sub, "worf"), identity(sub, "x"), chosen(sub, "ambassador")] {
        let after = users::get_or_create(table, &token, now()).await.unwrap();
        assert_eq!(after, Some(renamed.clone()), "{token:?}");
    }
}

async fn a_former_handle_is_kept_for_a_month_and_nobody_holds_a_third(store: Store) {
    let table = store.table();
    user(table, "worf").await;
    let sub = "sub-worf";
    let month = SignedDuration::from_hours(30 * 24);
    let ensure = async |who, at| users::get_or_create(table, &who, at).await.unwrap();
    let thief = || identity("sub-thief", "worf");

    let renamed = ensure(chosen(sub, "ambassador"), now()).await.unwrap();

    let almost = now() + month - SignedDuration::from_secs(1);
    for other in ["worf", "third"] {
        // Also back: what a token says that was given before the change.
        assert_eq!(ensure(chosen(sub, other), almost).await, Some(renamed.clone()), "{other}");
    }
    assert_eq!(users::by_handle(table, &handle("worf"), almost).await.unwrap(), Some(renamed));
    assert_eq!(users::by_handle(table, &handle("third"), almost).await.unwrap(), None);
    assert_eq!(ensure(thief(), almost).await, None);
    let both = Some(vec![handle("ambassador"), handle("worf")]);
    assert_eq!(users::handles_of(table, &identity(sub, "any"), almost).await.unwrap(), both);

    let then = now() + month;
    assert_eq!(users::by_handle(table, &handle("worf"), then).await.unwrap(), None);
    assert_eq!(ensure(thief(), then).await.unwrap().handle, handle("worf"));
    // It is somebody else's now, and who asks for it stays who they are.
    assert_eq!(ensure(chosen(sub, "worf"), then).await, ensure(identity(sub, "any"), then).await);
    assert_eq!(ensure(chosen(sub, "worf"), then).await.unwrap().handle, handle("ambassador"));
    assert_eq!(ensure(chosen(sub, "third"), then).await.unwrap().handle, handle("third"));
}

async fn of_two_changes_at_once_one_is_made(store: Store) {
    user(store.table(), "worf").await;
    let changes = ["one", "two", "three", "four"].map(|name| {
        let (table, token) = (store.connect(), chosen("sub-worf", name));
        tokio::spawn(
            async move { users::get_or_create(table.as_ref(), &token, now()).await.unwrap() },
        )
    });
    let made: Vec<User> = join_all(changes).await.into_iter().filter_map(Result::unwrap).collect();

    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|user| user.handle == made[0].handle), "{made:?}");
    for name in ["one", "two", "three", "four"] {
        let found = users::by_handle(store.table(), &handle(name), now()).await.unwrap();
        assert_eq!(found.is_some(), made[0].handle == handle(name), "{name}");
    }
}

async fn notices_follow_a_user_to_a_new_handle(store: Store) {
    let table = store.table();
    user(table, "worf").await;
    let sub = "sub-worf";
    let activity_before = Entry::Activity(publish(table, activity("worf", "Hello", 50)).await);
    let before = answer(table, &activity_before, "data", 40).await.uuid;
    users::get_or_create(table, &chosen(sub, "ambassador"), now()).await.unwrap().unwrap();
    let after = publish(table, activity("q", "@worf is @ambassador now", 30)).await.uuid;
    answer(table, &activity_before, "ambassador", 20).await; // one's own is no notice

    let handles = users::handles_of(table, &identity(sub, "worf"), now()).await.unwrap().unwrap();
    for limit in [1, 40] {
        let read = async |page| feeds::notifications(table, &handles, &page, now()).await.unwrap();
        let seen: Vec<Uuid> = all_pages(limit, read).await.iter().map(uuid_of).collect();
        assert_eq!(seen, [after, before], "pages of {limit}");
    }
}

fn uuid_of(entry: &EntryTree) -> Uuid {
    match entry {
        EntryTree::Activity(thread) => thread.activity.uuid,
        EntryTree::Reply(tree) => tree.reply.uuid,
    }
}

async fn a_profile_is_replaced(store: Store) {
    let table = store.table();
    let before = user(table, "worf").await;
    let named = users::by_handle(table, &handle("worf"), now()).await.unwrap().unwrap();
    assert_eq!(named, before);

    for bio in [Some("Son of Mogh"), None] {
        let bio = bio.map(|text| cruddur::domain::Bio::parse(text).unwrap());
        let display_name = cruddur::domain::DisplayName::parse("Lt. Worf 🖖").unwrap();
        let profile = User { display_name, bio, ..before.clone() };
        let User { key, display_name, bio, .. } = &profile;
        users::update_profile(table, *key, display_name, Some(bio), None, now()).await.unwrap();
        let after = users::by_handle(table, &handle("worf"), now()).await.unwrap();
        assert_eq!(after, Some(profile.clone()));
        users::update_profile(table, *key, &before.display_name, None, None, now()).await.unwrap();
        let renamed = users::by_handle(table, &handle("worf"), now()).await.unwrap();
        assert_eq!(renamed.unwrap().bio, profile.bio);
    }
}

async fn others_replies_and_mentions_are_notified_newest_first(store: Store) {
    let table = store.table();
    let mine = Entry::Activity(publish(table, activity("andrew", "I am @andrew", 30)).await);
    let theirs = answer(table, &mine, "worf", 20).await;
    let own = Entry::Reply(answer(table, &mine, "andrew", 19).await);
    let below_own = answer(table, &own, "data", 18).await;
    let mention = publish(table, activity("q", "Where is @Andrew? And @andrew?", 10)).await;
    publish(table, activity("q", "andrew without a sign", 9)).await;

    for limit in [1, 40] {
        let me = [handle("andrew")];
        let read = async |page| feeds::notifications(table, &me, &page, now()).await.unwrap();
        let seen: Vec<Uuid> = all_pages(limit, read).await.iter().map(uuid_of).collect();
        assert_eq!(seen, [mention.uuid, below_own.uuid, theirs.uuid], "pages of {limit}");
    }
}

fn message(from: &User, to: UserKey, text: &str, minutes_ago: i64) -> Message {
    Message {
        uuid: Uuid::new_v4(),
        group_uuid: conversation_uuid(from.key, to),
        handle: from.handle.clone(),
        display_name: from.display_name.clone(),
        message: LongText::parse(text).unwrap(),
        created_at: ago(minutes_ago),
    }
}

async fn send(table: &dyn Table, from: &User, to: &User, text: &str, minutes_ago: i64) -> Message {
    let message = message(from, to.key, text, minutes_ago);
    messages::send(table, from.key, to.key, &message, None, now()).await.unwrap();
    message
}

/// What a user sees of their conversations, once the index shows so many.
async fn groups(table: &dyn Table, of: &User, count: usize) -> Vec<(String, String)> {
    let ask = || async {
        let groups = messages::groups(table, of.key, &first(40), now()).await.unwrap().entries;
        groups.iter().map(|one| (one.handle.to_string(), one.message.to_string())).collect()
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

    assert_eq!(other(&andrew).await, Some(worf.key.clone()));
    assert_eq!(other(&worf).await, Some(andrew.key.clone()));
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

fn once(user: UserKey, content: &str) -> IdempotentRequest {
    IdempotentRequest::new(user, "/api/activities", "a key", &[content.as_bytes()])
}

async fn a_request_is_done_once_and_its_answer_kept_for_a_day(store: Store) {
    let table = store.table();
    let [worf, data] = ["sub-worf", "sub-data"].map(|sub| identity(sub, "x").key);
    let request = once(worf, "body");
    let at = async |time| request.earlier(table, time).await.unwrap();
    assert_eq!(at(now()).await, Lookup::Nothing);

    let note = request.remember("the answer", now()).unwrap();
    threads::publish(table, &activity("worf", "once", 0), Some(note.clone()), now()).await.unwrap();
    let again = threads::publish(table, &activity("worf", "twice", 0), Some(note), now()).await;

    assert!(matches!(again, Err(StoreError::AnsweredBefore)), "{again:?}");
    assert_eq!(at(now()).await, Lookup::Answer("the answer".to_owned()));
    let day = SignedDuration::from_hours(24);
    let almost = SignedDuration::from_secs(1);
    assert_eq!(at(now() + day - almost).await, Lookup::Answer("the answer".to_owned()));
    assert_eq!(at(now() + day).await, Lookup::Nothing);
    let other_body = once(worf, "another body").earlier(table, now()).await.unwrap();
    assert_eq!(other_body, Lookup::OtherRequest);
    assert_eq!(once(data, "body").earlier(table, now()).await.unwrap(), Lookup::Nothing);
    let feed = feeds::of_user(table, &handle("worf"), &first(40), now()).await.unwrap().entries;
    let texts: Vec<&MessageText> = feed.iter().map(|one| &one.message).collect();
    assert_eq!(texts, [&MessageText::parse("once").unwrap()]);
}

async fn of_equal_requests_at_once_one_is_done(store: Store) {
    let worf = identity("sub-worf", "worf").key;
    let attempts = (0..10).map(|n| {
        let (table, request) = (store.connect(), once(worf, "body"));
        let activity = activity("worf", "once", n);
        tokio::spawn(async move {
            let note = request.remember(&n.to_string(), now()).unwrap();
            threads::publish(table.as_ref(), &activity, Some(note), now()).await
        })
    });
    let outcomes: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let lost = |outcome: &_| matches!(outcome, Ok(()) | Err(StoreError::AnsweredBefore));
    assert!(outcomes.iter().all(lost), "{outcomes:?}");
    let page = first(40);
    let feed = feeds::of_user(store.table(), &handle("worf"), &page, now()).await.unwrap().entries;
    assert_eq!(feed.len(), 1);
}
