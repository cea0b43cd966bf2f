//! Home, the feed of a user, show, replies and likes.

use cruddur::domain::{Entry, EntryTree, ReplyTree, Thread};
use cruddur::store::feeds::{self, FEED_DEPTH, FEED_REPLIES};
use cruddur::store::{PageOf, likes, threads};
use cruddur_tests::Store;
use futures_util::future::join_all;
use uuid::Uuid;

use super::world::*;
use super::*;

on_both_stores! {
    what_was_published_is_home_and_on_its_authors_feed,
    home_is_newest_first_over_all_of_its_pages,
    home_shows_each_activity_once_while_others_publish,
    replies_stand_below_what_they_answer_and_are_counted_there,
    a_feed_shows_few_levels_of_few_replies_and_show_shows_more,
    a_reply_can_be_shown_and_answered,
    a_thread_is_shown_page_by_page_and_branch_by_branch,
    what_has_expired_is_nowhere,
    an_expired_activity_cannot_be_answered_or_liked,
    parallel_replies_are_all_counted,
    a_like_counts_once_and_can_be_taken_back,
    fifty_users_count_fifty,
    fifty_likes_of_one_user_count_one,
    likes_that_come_and_go_at_once_leave_the_count_right,
}

async fn home(table: &dyn Table, limit: usize) -> Vec<Thread> {
    feeds::home(table, &first(limit), now()).await.unwrap().entries
}

/// Home, once so many are there: it is read from an index.
async fn home_of(table: &dyn Table, count: usize) -> Vec<Thread> {
    eventually(|| home(table, 100), |feed| feed.len() == count).await
}

fn uuids(feed: &[Thread]) -> Vec<Uuid> {
    feed.iter().map(|thread| thread.activity.uuid).collect()
}

async fn shown(table: &dyn Table, uuid: Uuid) -> Option<EntryTree> {
    let shown = threads::show(table, uuid, &first(100), now()).await.unwrap();
    shown.map(|shown| shown.tree)
}

async fn likes_of(table: &dyn Table, uuid: Uuid) -> u64 {
    found(table, uuid).await.unwrap().counters().likes
}

fn depth_of(trees: &[ReplyTree]) -> usize {
    trees.iter().map(|tree| 1 + depth_of(&tree.replies)).max().unwrap_or(0)
}

fn count(trees: &[ReplyTree]) -> usize {
    trees.iter().map(|tree| 1 + count(&tree.replies)).sum()
}

async fn what_was_published_is_home_and_on_its_authors_feed(store: Store) {
    let table = store.table();
    let ours = publish(table, activity("andrew", "Cloud is fun!", 5)).await;
    publish(table, activity("worf", "I am out of prune juice", 3)).await;

    let feed = home_of(table, 2).await;
    let of_author =
        feeds::of_user(table, key_of("andrew"), &first(40), now()).await.unwrap().entries;
    let shown = shown(table, ours.uuid).await;

    assert_eq!(feed[1], Thread::new(ours.clone(), Vec::new()));
    assert_eq!(of_author, std::slice::from_ref(&ours));
    assert_eq!(shown, Some(EntryTree::Activity(Thread::new(ours, Vec::new()))));
    let nobody = feeds::of_user(table, key_of("nobody"), &first(40), now()).await.unwrap();
    assert_eq!(nobody.entries, []);
}

async fn home_is_newest_first_over_all_of_its_pages(store: Store) {
    let table = store.table();
    let mut written = Vec::new();
    for minutes in (0..60).rev() {
        written.insert(0, publish(table, activity("worf", "Qapla'", minutes)).await.uuid);
    }
    home_of(table, 60).await;

    for limit in [1, 7, 40, 60, 100] {
        let read = async |page| feeds::home(table, &page, now()).await.unwrap();
        let feed = all_pages(limit, read).await;
        assert_eq!(uuids(&feed), written, "pages of {limit}");
        let read = async |page| feeds::of_user(table, key_of("worf"), &page, now()).await.unwrap();
        let of_user: Vec<Uuid> = all_pages(limit, read).await.iter().map(|one| one.uuid).collect();
        assert_eq!(of_user, written, "pages of {limit}");
    }
}

async fn home_shows_each_activity_once_while_others_publish(store: Store) {
    let table = store.table();
    let mut written = Vec::new();
    for minutes in 1..30 {
        written.push(publish(table, activity("worf", "Qapla'", minutes)).await.uuid);
    }
    home_of(table, 29).await;

    let read = async |page| {
        let page = feeds::home(table, &page, now()).await.unwrap();
        publish(table, activity("data", "newest", 0)).await;
        publish(table, activity("data", "in between", 15)).await;
        page
    };
    let seen = uuids(&all_pages(4, read).await);

    let old: Vec<Uuid> = seen.iter().copied().filter(|uuid| written.contains(uuid)).collect();
    assert_eq!(old, written);
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "something came twice");
}

async fn replies_stand_below_what_they_answer_and_are_counted_there(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "Hello", 9)).await);
    let first = Entry::Reply(answer(table, &root, "worf", 8).await);
    answer(table, &root, "data", 7).await;
    let below = answer(table, &first, "andrew", 6).await;

    let feed = home_of(table, 1).await;

    let thread = &feed[0];
    assert_eq!(thread.activity.counters.replies, 2);
    assert_eq!(thread.replies.len(), 2); // home itself shows the activity alone
    assert_eq!(thread.replies[0].reply.author, key_of("worf"));
    assert_eq!(thread.replies[0].reply.counters.replies, 1);
    assert_eq!(thread.replies[0].replies[0].reply, below);
    assert_eq!(thread.replies[1].replies, []);
    assert_eq!(shown(table, root.uuid()).await, Some(EntryTree::Activity(thread.clone())));
}

async fn a_feed_shows_few_levels_of_few_replies_and_show_shows_more(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "Hello", 50)).await);
    let mut deepest = root.clone();
    for minutes in (40..46).rev() {
        deepest = Entry::Reply(answer(table, &deepest, "worf", minutes).await);
    }
    for minutes in (1..30).rev() {
        answer(table, &root, "data", minutes).await;
    }

    let thread = home_of(table, 1).await.remove(0);
    let Some(EntryTree::Activity(all)) = shown(table, root.uuid()).await else {
        panic!("an activity")
    };

    assert_eq!(thread.activity.counters.replies, 30);
    assert_eq!(count(&thread.replies), FEED_REPLIES);
    assert!(depth_of(&thread.replies) <= usize::from(FEED_DEPTH));
    assert_eq!((count(&all.replies), depth_of(&all.replies)), (35, 6));
}

async fn a_reply_can_be_shown_and_answered(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "Hello", 9)).await);
    let first = Entry::Reply(answer(table, &root, "worf", 8).await);
    let second = Entry::Reply(answer(table, &first, "data", 7).await);
    let third = answer(table, &second, "worf", 6).await;

    let Some(EntryTree::Reply(tree)) = shown(table, first.uuid()).await else { panic!("a reply") };

    assert_eq!(found(table, third.uuid).await, Some(Entry::Reply(third.clone())));
    assert_eq!((tree.reply.uuid, tree.reply.counters.replies), (first.uuid(), 1));
    assert_eq!(tree.replies[0].reply.uuid, second.uuid());
    assert_eq!(tree.replies[0].replies[0].reply, third);
    assert_eq!(found(table, Uuid::new_v4()).await, None);
}

async fn a_thread_is_shown_page_by_page_and_branch_by_branch(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "Hello", 59)).await);
    let mut written = Vec::new();
    let mut below = Vec::new();
    for minutes in (1..13).rev() {
        let reply = Entry::Reply(answer(table, &root, "worf", minutes).await);
        below.push(answer(table, &reply, "data", 0).await.uuid);
        written.push(reply.uuid());
    }

    let read = async |page| {
        let shown = threads::show(table, root.uuid(), &page, now()).await.unwrap().unwrap();
        let EntryTree::Activity(thread) = shown.tree else { panic!("an activity") };
        PageOf { entries: thread.replies, next: shown.next }
    };
    for limit in [1, 5, 12] {
        let trees = all_pages(limit, read).await;
        let seen: Vec<Uuid> = trees.iter().map(|tree| tree.reply.uuid).collect();
        let deeper: Vec<Uuid> =
            trees.iter().flat_map(|tree| &tree.replies).map(|tree| tree.reply.uuid).collect();
        assert_eq!((seen, deeper), (written.clone(), below.clone()), "pages of {limit}");
    }
    let Some(EntryTree::Reply(branch)) = shown(table, written[7]).await else { panic!("a reply") };
    assert_eq!((branch.replies.len(), branch.replies[0].reply.uuid), (1, below[7]));
}

async fn what_has_expired_is_nowhere(store: Store) {
    let table = store.table();
    let mortal = activity("andrew", "Farewell @worf", 9);
    let until = mortal.expires_at;
    let root = Entry::Activity(publish(table, mortal).await);
    let reply = answer(table, &root, "worf", 8).await;
    let words = ["farewell".to_owned()];
    home_of(table, 1).await;

    let just_before = until - jiff::SignedDuration::from_micros(1);
    for (now, alive) in
        [(just_before, 1), (until, 0), (until + jiff::SignedDuration::from_hours(1), 0)]
    {
        let page = first(40);
        let home = feeds::home(table, &page, now).await.unwrap().entries;
        let feed = feeds::of_user(table, key_of("andrew"), &page, now).await.unwrap().entries;
        let search = feeds::search(table, &words, &page, now).await.unwrap().entries;
        let told = async |name| {
            let handles = [handle(name)];
            let notified = feeds::notifications(table, key_of(name), &handles, &page, now).await;
            notified.unwrap().entries
        };
        let (worfs, mine) = (told("worf").await, told("andrew").await);
        let show = threads::show(table, root.uuid(), &page, now).await.unwrap();
        let show_reply = threads::show(table, reply.uuid, &page, now).await.unwrap();

        let lists = [home.len(), feed.len(), search.len(), worfs.len(), mine.len()];
        assert_eq!(lists, [alive; 5], "{now}");
        assert_eq!((show.is_some(), show_reply.is_some()), (alive == 1, alive == 1), "{now}");
    }
}

async fn an_expired_activity_cannot_be_answered_or_liked(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "Hello", 9)).await);
    let below = Entry::Reply(answer(table, &root, "worf", 8).await);
    let worf = user(table, "worf").await;
    let before = store.dump().await.len();

    for parent in [&root, &below] {
        let late = reply_to(parent, "worf", 0);
        let now = root.expires_at();
        assert!(!threads::reply(table, parent, &late, None, now).await.unwrap_or(false));
        assert!(!likes::set_liked(table, parent, worf.key, true, now).await.unwrap());
    }

    assert!(store.dump().await.len() <= before);
}

async fn parallel_replies_are_all_counted(store: Store) {
    let root = Entry::Activity(publish(store.table(), activity("andrew", "Hello", 9)).await);

    let replies = (0..30).map(|_| {
        let (table, root) = (store.connect(), root.clone());
        tokio::spawn(async move { answer(table.as_ref(), &root, "worf", 1).await })
    });
    for reply in join_all(replies).await {
        reply.unwrap();
    }

    let Some(EntryTree::Activity(thread)) = shown(store.table(), root.uuid()).await else {
        panic!("an activity")
    };
    assert_eq!((thread.activity.counters.replies, thread.replies.len()), (30, 30));
}

async fn a_like_counts_once_and_can_be_taken_back(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "Hello", 9)).await);
    let reply = Entry::Reply(answer(table, &root, "worf", 8).await);
    let [worf, data] = [user(table, "worf").await, user(table, "data").await];

    for entry in [&root, &reply] {
        for (who, liked, count) in [
            (&worf, false, 0), // taking back what was never given
            (&worf, true, 1),
            (&worf, true, 1),
            (&data, true, 2),
            (&worf, false, 1),
            (&worf, false, 1),
            (&worf, true, 2),
        ] {
            assert!(likes::set_liked(table, entry, who.key, liked, now()).await.unwrap());
            assert_eq!(likes_of(table, entry.uuid()).await, count);
        }
    }
    let gone = Entry::Activity(activity("andrew", "never published", 9));
    assert!(!likes::set_liked(table, &gone, worf.key, true, now()).await.unwrap());
}

async fn fifty_users_count_fifty(store: Store) {
    let root = Entry::Activity(publish(store.table(), activity("andrew", "Hello", 9)).await);

    let likes = (0..50).map(|n| like(&store, &root, format!("sub-{n}"), true));
    join_all(likes).await;

    assert_eq!(likes_of(store.table(), root.uuid()).await, 50);
}

async fn fifty_likes_of_one_user_count_one(store: Store) {
    let root = Entry::Activity(publish(store.table(), activity("andrew", "Hello", 9)).await);

    join_all((0..50).map(|_| like(&store, &root, "sub-worf".to_owned(), true))).await;

    assert_eq!(likes_of(store.table(), root.uuid()).await, 1);
}

async fn likes_that_come_and_go_at_once_leave_the_count_right(store: Store) {
    let root = Entry::Activity(publish(store.table(), activity("andrew", "Hello", 9)).await);

    let changes = (0..40).map(|n| like(&store, &root, format!("sub-{}", n % 4), n % 3 != 0));
    join_all(changes).await;
    for n in 0..4 {
        like(&store, &root, format!("sub-{n}"), true).await;
    }

    assert_eq!(likes_of(store.table(), root.uuid()).await, 4);
}

/// Over a connection of its own, on another thread.
async fn like(store: &Store, entry: &Entry, sub: String, liked: bool) {
    let (table, entry) = (store.connect(), entry.clone());
    let key = identity(&sub, "whoever").key;
    let liking =
        tokio::spawn(
            async move { likes::set_liked(table.as_ref(), &entry, key, liked, now()).await },
        );
    assert!(liking.await.unwrap().unwrap());
}
