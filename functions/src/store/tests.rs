//! The access patterns on the local engine: what only a given time can show. What the endpoints
//! show by the machine's clock is tested with them.

use std::{collections::BTreeSet, path::Path};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::{engines::sqlite::SqliteTable, idempotency::Lookup, *};
use crate::{
    domain::{Activity, Entry, Handle, MessageText, UserKey},
    test_support::{activity, key, reply},
};

const ALL: PageRequest = PageRequest { limit: 100, after: None };

fn start() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

fn table() -> SqliteTable {
    SqliteTable::open(Path::new(":memory:")).unwrap()
}

/// An activity of andrew that lives for a day and can be found in every way there is.
fn mentioning(uuid: u128, created_at: Timestamp) -> Activity {
    Activity { message: MessageText::parse("Hello @worf").unwrap(), ..activity(uuid, created_at) }
}

#[tokio::test]
async fn in_the_second_in_which_it_expires_an_activity_and_its_replies_are_nowhere_any_more() {
    let table = table();
    let activity = mentioning(1, start());
    let answer = reply(2, &activity, 1, 1, start());
    threads::publish(&table, &activity, None, start()).await.unwrap();
    threads::reply(&table, &Entry::Activity(activity.clone()), &answer, None, start())
        .await
        .unwrap();
    let worf = [Handle::parse("worf").unwrap()];
    let words = ["hello".to_owned()];

    for (now, places) in
        [(activity.expires_at - SignedDuration::from_micros(1), 6), (activity.expires_at, 0)]
    {
        let home = feeds::home(&table, &ALL, now).await.unwrap().entries.len();
        let feed = feeds::of_user(&table, key("andrew"), &ALL, now).await.unwrap().entries.len();
        let found = feeds::search(&table, &words, &ALL, now).await.unwrap().entries.len();
        let told = async |reader: UserKey| {
            feeds::notifications(&table, reader, &worf, &ALL, now).await.unwrap().entries.len()
        };
        let (mentioned, answered) = (told(key("worf")).await, told(key("andrew")).await);
        let shown = threads::show(&table, answer.uuid, &ALL, now).await.unwrap().iter().count();
        assert_eq!(home + feed + found + mentioned + answered + shown, places, "{now}");
    }
}

#[tokio::test]
async fn an_expired_activity_is_neither_answered_nor_liked() {
    let table = table();
    let activity = mentioning(1, start());
    threads::publish(&table, &activity, None, start()).await.unwrap();
    // Found when it was alive, and gone when it comes to writing.
    let found = Entry::Activity(activity.clone());
    let late = reply(2, &activity, 1, 1, activity.expires_at);
    let user = UserKey::of_token("", "worf").unwrap();

    let replied = threads::reply(&table, &found, &late, None, activity.expires_at).await.unwrap();
    let liked = likes::set_liked(&table, &found, user, true, activity.expires_at).await.unwrap();

    assert_eq!((replied, liked), (false, false));
    assert_eq!(threads::find(&table, late.uuid, start()).await.unwrap(), None);
}

#[tokio::test]
async fn a_reply_to_a_reply_goes_with_the_activity_at_the_top() {
    let table = table();
    let activity = mentioning(1, start());
    let answer = reply(2, &activity, 1, 1, start());
    threads::publish(&table, &activity, None, start()).await.unwrap();
    threads::reply(&table, &Entry::Activity(activity.clone()), &answer, None, start())
        .await
        .unwrap();
    table
        .transact_write(&[Write::DeleteExisting(keys::activity(activity.uuid))], start())
        .await
        .unwrap();

    let deeper = reply(3, &activity, 2, 2, start());
    let replied = threads::reply(&table, &Entry::Reply(answer), &deeper, None, start()).await;

    assert!(!replied.unwrap());
}

#[tokio::test]
async fn an_answer_is_remembered_for_a_day() {
    let table = table();
    let user = UserKey::of_token("", "andrew").unwrap();
    let request = idempotency::IdempotentRequest::new(user, "/x", "k", &[b"body"]);
    let other = idempotency::IdempotentRequest::new(user, "/x", "k", &[b"another body"]);
    let note = request.remember("the answer", start()).unwrap();
    table.transact_write(&[note], start()).await.unwrap();

    let day = SignedDuration::from_hours(24);
    let just_before = start() + day - SignedDuration::from_secs(1);
    let earlier = request.earlier(&table, just_before).await.unwrap();
    assert_eq!(earlier, Lookup::Answer("the answer".to_owned()));
    assert_eq!(other.earlier(&table, just_before).await.unwrap(), Lookup::OtherRequest);
    assert_eq!(request.earlier(&table, start() + day).await.unwrap(), Lookup::Nothing);
}

#[tokio::test]
async fn of_two_who_do_the_same_request_at_once_one_does_it() {
    let table = table();
    let user = UserKey::of_token("", "andrew").unwrap();
    let request = idempotency::IdempotentRequest::new(user, "/x", "k", &[b"body"]);
    // Both have looked, and neither has found an answer.
    let note = || request.remember("the answer", start()).map(Some).unwrap();

    threads::publish(&table, &mentioning(1, start()), note(), start()).await.unwrap();
    let second = threads::publish(&table, &mentioning(2, start()), note(), start()).await;

    assert!(matches!(second, Err(StoreError::AnsweredBefore)));
    assert_eq!(feeds::home(&table, &ALL, start()).await.unwrap().entries.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Ages in minutes, oldest up to two days; those beyond a day have expired.
    #[test]
    fn the_home_feeds_pages_hold_each_living_activity_once_while_others_write(
        ages in prop::collection::vec(0..2_880_i64, 0..60), limit in 1..15_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = start();
        let (seen, alive) = runtime.block_on(async {
            let table = table();
            let mut alive = BTreeSet::new();
            for (n, age) in ages.iter().enumerate() {
                let uuid = n as u128 * 7 + 1; // in shard after shard
                let activity = mentioning(uuid, now - SignedDuration::from_mins(*age));
                if activity.expires_at > now {
                    alive.insert(activity.uuid);
                }
                let written = activity.created_at;
                threads::publish(&table, &activity, None, written).await.unwrap();
            }
            let mut page = PageRequest { limit, after: None };
            let mut seen = Vec::new();
            loop {
                let feed = feeds::home(&table, &page, now).await.unwrap();
                assert!(feed.entries.len() <= limit);
                seen.extend(feed.entries.iter().map(|thread| {
                    (thread.activity.created_at, thread.activity.uuid)
                }));
                // Another user publishes a newer activity.
                let newer = mentioning(1_000 + seen.len() as u128, now + SignedDuration::from_mins(1));
                threads::publish(&table, &newer, None, now).await.unwrap();
                match feed.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
            (seen, alive)
        });

        prop_assert!(seen.windows(2).all(|two| two[0] > two[1]), "newest first, none twice");
        prop_assert_eq!(seen.into_iter().map(|(_, uuid)| uuid).collect::<BTreeSet<Uuid>>(), alive);
    }
}
