use std::path::Path;

use jiff::SignedDuration;

use super::*;
use crate::{
    domain::Counters,
    store::{Index, Item, Page, engines::sqlite::SqliteTable, feeds},
    test_support::{activity, reply, write_thread},
};

const ALL: PageRequest = PageRequest { limit: 100, after: None };

/// Far enough ahead that nothing written then has expired by the clock of the machine.
fn now() -> Timestamp {
    "2100-01-01T12:00:00Z".parse().unwrap()
}

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

fn table() -> SqliteTable {
    SqliteTable::open(Path::new(":memory:")).unwrap()
}

/// The first 40 of the home feed.
async fn first_page(table: &SqliteTable, now: Timestamp) -> Vec<Thread> {
    feeds::home(table, &PageRequest { limit: 40, after: None }, now).await.unwrap().entries
}

fn answered(activity: Activity, replies: u64) -> Activity {
    Activity { counters: Counters { replies, ..activity.counters }, ..activity }
}

fn uuids(replies: &[ReplyTree]) -> Vec<u128> {
    replies.iter().map(|tree| tree.reply.uuid.as_u128()).collect()
}

#[tokio::test]
async fn what_was_written_comes_back_as_it_was() {
    let table = table();
    let written = Activity {
        counters: Counters { likes: 3, replies: 1, reposts: 2, deleted_replies: 0 },
        ..activity(1, ago(5))
    };
    let answer = reply(2, &written, 1, 1, ago(4));

    write_thread(&table, &written, std::slice::from_ref(&answer)).await;

    let feed = first_page(&table, now()).await;
    assert_eq!(feed, [Thread::new(written, vec![answer])]);
}

#[tokio::test]
async fn the_feed_is_the_newest_40_over_all_shards_newest_first() {
    let table = table();
    for age in 0..50 {
        let uuid = 1000 + age; // its last byte, and so its shard, differs from age to age
        write_thread(&table, &activity(uuid, ago(age as i64)), &[]).await;
    }

    let feed = first_page(&table, now()).await;

    let uuids: Vec<u128> = feed.iter().map(|thread| thread.activity.uuid.as_u128()).collect();
    assert_eq!(uuids, (1000..1040).collect::<Vec<_>>());
}

#[tokio::test]
async fn expired_activities_are_never_shown_and_take_no_place() {
    let table = table();
    for age in 0..50 {
        let activity = activity(1000 + age, ago(age as i64));
        let expires_at = if age < 45 { now() } else { activity.expires_at };
        write_thread(&table, &Activity { expires_at, ..activity }, &[]).await;
    }

    assert_eq!(first_page(&table, now()).await.len(), 5);
    assert_eq!(first_page(&table, now() - SignedDuration::from_secs(1)).await.len(), 40);
}

#[tokio::test]
async fn replies_are_nested_to_the_third_level_oldest_first() {
    let table = table();
    let root = answered(activity(1, ago(60)), 2);
    let replies = [
        reply(11, &root, 1, 1, ago(10)),
        reply(12, &root, 1, 1, ago(20)),
        reply(21, &root, 11, 2, ago(9)),
        reply(31, &root, 21, 3, ago(8)),
        reply(41, &root, 31, 4, ago(7)),
    ];
    write_thread(&table, &root, &replies).await;

    let feed = first_page(&table, now()).await;

    let first = &feed[0].replies;
    assert_eq!(uuids(first), [12, 11]);
    let second = &first[1].replies;
    assert_eq!(uuids(second), [21]);
    let third = &second[0].replies;
    assert_eq!(uuids(third), [31]);
    assert_eq!(uuids(&third[0].replies), []);
}

#[tokio::test]
async fn a_thread_shows_its_first_20_replies_and_always_their_parents() {
    let table = table();
    let root = answered(activity(1, ago(600)), 15);
    let mut replies: Vec<Reply> =
        (0..15).map(|n| reply(100 + n, &root, 1, 1, ago(n as i64))).collect();
    replies.extend((0..15).map(|n| reply(200 + n, &root, 100 + n, 2, ago(n as i64))));
    write_thread(&table, &root, &replies).await;

    let feed = first_page(&table, now()).await;

    assert_eq!(feed[0].replies.len(), 15);
    let below: usize = feed[0].replies.iter().map(|tree| tree.replies.len()).sum();
    assert_eq!(below, 5);
}

#[tokio::test]
async fn a_reply_is_shown_with_what_is_below_it_and_nothing_else_however_much_there_is() {
    let table = table();
    let root = answered(activity(1, ago(600)), 151);
    let mut replies: Vec<Reply> =
        (0..150).map(|n| reply(1_000 + n, &root, 1, 1, ago(500 - n as i64))).collect();
    let mine = Reply {
        counters: Counters { replies: 2, ..Counters::default() },
        ..reply(2, &root, 1, 1, ago(300))
    };
    // As deep as the others' replies, and later than all of them.
    replies.extend((0..150).map(|n| reply(2_000 + n, &root, 1_000 + n, 2, ago(200))));
    replies.extend([mine, reply(3, &root, 2, 2, ago(100)), reply(4, &root, 2, 2, ago(90))]);
    write_thread(&table, &root, &replies).await;

    let shown = show(&table, Uuid::from_u128(2), &ALL, now()).await.unwrap().unwrap();

    let EntryTree::Reply(tree) = shown.tree else { panic!("a reply") };
    assert_eq!((uuids(&tree.replies), shown.next), (vec![3, 4], None));
}

#[tokio::test]
async fn replies_are_shown_however_deep_they_are() {
    let table = table();
    let root = answered(activity(1, ago(600)), 1);
    let replies: Vec<Reply> = (1..300_u128)
        .map(|depth| Reply {
            counters: Counters { replies: 1, ..Counters::default() },
            ..reply(depth + 1, &root, depth, u8::try_from(depth).unwrap_or(u8::MAX), ago(500))
        })
        .collect();
    write_thread(&table, &root, &replies).await;

    for id in [1, 2, 200, 252, 253, 254, 255, 256, 257, 280] {
        let shown = show(&table, Uuid::from_u128(id), &ALL, now()).await.unwrap().unwrap();
        let mut below = match shown.tree {
            EntryTree::Activity(thread) => thread.replies,
            EntryTree::Reply(tree) => tree.replies,
        };
        for next in (id + 1..).take(SHOWN_DEPTH) {
            assert_eq!(uuids(&below), [next], "below {id}");
            below = below.remove(0).replies;
        }
        assert_eq!(uuids(&below), [], "below {id}");
    }
}

#[tokio::test]
async fn the_replies_to_a_entry_come_in_pages_with_what_is_below_each_of_them() {
    let table = table();
    let root = answered(activity(1, ago(600)), 70);
    let with_one = Counters { replies: 1, ..Counters::default() };
    let first = (0..70).map(|n| Reply {
        counters: with_one,
        ..reply(1_000 + n, &root, 1, 1, ago(500 - n as i64))
    });
    let second = (0..70).map(|n| reply(2_000 + n, &root, 1_000 + n, 2, ago(100)));
    let replies: Vec<Reply> = first.chain(second).collect();
    write_thread(&table, &root, &replies).await;

    let mut page = PageRequest { limit: 30, after: None };
    let mut seen = Vec::new();
    loop {
        let shown = show(&table, root.uuid, &page, now()).await.unwrap().unwrap();
        let EntryTree::Activity(thread) = shown.tree else { panic!("an activity") };
        for tree in &thread.replies {
            assert_eq!(uuids(&tree.replies), [tree.reply.uuid.as_u128() + 1_000]);
        }
        seen.extend(uuids(&thread.replies));
        let Some(next) = shown.next else { break };
        page.after = Some(next);
    }
    assert_eq!(seen, (1_000..1_070).collect::<Vec<_>>());

    let most = show(&table, root.uuid, &ALL, now()).await.unwrap().unwrap();
    let EntryTree::Activity(most) = most.tree else { panic!("an activity") };
    let below: usize = most.replies.iter().map(|tree| tree.replies.len()).sum();
    assert_eq!((most.replies.len(), below), (70, SHOWN_REPLIES - 70));
}

#[test]
fn where_one_shard_was_not_read_to_its_end_the_page_ends_for_all() {
    let item = |minutes: i64| {
        let activity = activity(minutes as u128, ago(minutes));
        codec::activity_items(&activity, &[].into()).unwrap().remove(0)
    };
    let place = |minutes: i64| item(minutes).listing.map(|key| key.sort);
    let shards = || {
        let cut_short = Page { items: vec![item(2)], next: place(4) };
        let whole = Page { items: vec![item(1), item(3), item(5), item(6)], next: None };
        vec![cut_short, whole]
    };

    let position = |item: &Item| item.position(Some(Index::Listing)).map(str::to_owned);
    let merged = pages::merge(shards(), position, 10);
    assert_eq!(merged, PageOf { entries: vec![item(1), item(2), item(3)], next: place(4) });

    let shorter = pages::merge(shards(), position, 2);
    assert_eq!(shorter, PageOf { entries: vec![item(1), item(2)], next: place(2) });
}
