//! Users, notifications, and requests that are done once.

use cruddur::domain::{Entry, MessageText, User, UserKey};
use cruddur::store::idempotency::{IdempotentRequest, Lookup};
use cruddur::store::{feeds, threads, users};
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
    let worf = key_of("worf");
    let activity_before = Entry::Activity(publish(table, activity("worf", "Hello", 50)).await);
    let before = answer(table, &activity_before, "data", 40).await.uuid;
    users::get_or_create(table, &chosen(sub, "ambassador"), now()).await.unwrap().unwrap();
    let after = publish(table, activity("q", "@worf is @ambassador now", 30)).await.uuid;
    answer(table, &activity_before, "worf", 20).await; // an own text does not notify

    let handles = users::handles_of(table, &identity(sub, "worf"), now()).await.unwrap().unwrap();
    for limit in [1, 40] {
        let read =
            async |page| feeds::notifications(table, worf, &handles, &page, now()).await.unwrap();
        let seen: Vec<Uuid> = all_pages(limit, read).await.iter().map(uuid_of).collect();
        assert_eq!(seen, [after, before], "pages of {limit}");
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
    user(table, "andrew").await;
    let mine = Entry::Activity(publish(table, activity("andrew", "I am @andrew", 30)).await);
    let theirs = answer(table, &mine, "worf", 20).await;
    let own = Entry::Reply(answer(table, &mine, "andrew", 19).await);
    let below_own = answer(table, &own, "data", 18).await;
    let mention = publish(table, activity("q", "Where is @Andrew? And @andrew?", 10)).await;
    publish(table, activity("q", "andrew without a sign", 9)).await;

    for limit in [1, 40] {
        let me = key_of("andrew");
        let read = async |page| feeds::notifications(table, me, &[], &page, now()).await.unwrap();
        let seen: Vec<Uuid> = all_pages(limit, read).await.iter().map(uuid_of).collect();
        assert_eq!(seen, [mention.uuid, below_own.uuid, theirs.uuid], "pages of {limit}");
    }
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
    let feed = feeds::of_user(table, key_of("worf"), &first(40), now()).await.unwrap().entries;
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
    let feed = feeds::of_user(store.table(), key_of("worf"), &page, now()).await.unwrap().entries;
    assert_eq!(feed.len(), 1);
}
