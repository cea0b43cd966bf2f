//! Search: words, signs, folding, pages, expiry, and what it must not find.

use cruddur::domain::{Activity, Entry, MessageText, search_words};
use cruddur::store::feeds;
use cruddur_tests::Store;
use uuid::Uuid;

use super::world::*;
use super::*;

on_both_stores! {
    an_activity_is_found_by_each_of_its_words_however_they_are_written,
    all_words_must_be_there,
    nothing_else_is_found,
    what_is_found_is_newest_first_over_all_of_its_pages,
    rare_pairs_of_frequent_words_are_found_on_some_page,
    a_short_page_looks_further_than_what_has_one_of_the_words,
    the_first_page_has_a_hit_of_a_rare_word_beside_longer_frequent_words,
    an_activity_of_many_words_is_found_by_the_first_64,
}

async fn search(table: &dyn Table, term: &str) -> Vec<Uuid> {
    let page = first(100);
    let found = feeds::search(table, &search_words(term), &page, now()).await.unwrap();
    found.entries.iter().map(|activity| activity.uuid).collect()
}

async fn an_activity_is_found_by_each_of_its_words_however_they_are_written(store: Store) {
    let table = store.table();
    let text = "Der Café-Besuch mit @Worf war schön: #StarTrek, ﬁne 東京! you@example.com";
    let activity = publish(table, activity("andrew", text, 1)).await;

    for term in [
        "café",
        "CAFE",
        "cafe\u{301}",
        "besuch",
        "schön",
        "SCHON",
        "#startrek",
        "startrek",
        "@worf",
        "worf",
        "fine",
        "東京",
        "example",
        "com",
        " war ",
        "worf!",
    ] {
        assert_eq!(search(table, term).await, [activity.uuid], "{term}");
    }
}

async fn all_words_must_be_there(store: Store) {
    let table = store.table();
    let both = publish(table, activity("andrew", "prune juice", 3)).await.uuid;
    let one = publish(table, activity("worf", "juice", 2)).await.uuid;

    assert_eq!(search(table, "juice").await, [one, both]);
    assert_eq!(search(table, "juice prune").await, [both]);
    assert_eq!(search(table, "juice prune juice").await, [both]);
    assert_eq!(search(table, "juice wine").await, Vec::<Uuid>::new());
}

async fn nothing_else_is_found(store: Store) {
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("andrew", "juice of a plum", 3)).await);
    answer(table, &root, "worf", 2).await; // says "Indeed"

    for term in ["indeed", "jui", "juices", "a", "#juice", "@juice", "!!", "andrew"] {
        assert_eq!(search(table, term).await, Vec::<Uuid>::new(), "{term}");
    }
}

async fn what_is_found_is_newest_first_over_all_of_its_pages(store: Store) {
    let table = store.table();
    let mut written = Vec::new();
    for minutes in 0..25 {
        written.push(publish(table, activity("worf", "prune juice", minutes)).await.uuid);
    }

    for (limit, term) in [(1, "juice"), (7, "juice"), (25, "juice"), (4, "juice prune")] {
        let words = search_words(term);
        let read = async |page| feeds::search(table, &words, &page, now()).await.unwrap();
        let found: Vec<Uuid> =
            all_pages(limit, read).await.iter().map(|activity| activity.uuid).collect();
        assert_eq!(found, written, "pages of {limit} of {term}");
    }
}

async fn rare_pairs_of_frequent_words_are_found_on_some_page(store: Store) {
    let table = store.table();
    let pair = publish(table, activity("andrew", "klingon opera", 59)).await.uuid;
    for minutes in 0..30 {
        let text = if minutes % 2 == 0 { "klingon" } else { "opera" };
        publish(table, activity("worf", text, minutes)).await;
    }

    let words = search_words("opera klingon");
    let read = async |page| feeds::search(table, &words, &page, now()).await.unwrap();
    let found: Vec<Uuid> = all_pages(2, read).await.iter().map(|activity| activity.uuid).collect();

    assert_eq!(found, [pair]);
}

async fn a_short_page_looks_further_than_what_has_one_of_the_words(store: Store) {
    let table = store.table();
    let mut pairs = Vec::new();
    for minutes in 0..30 {
        let text = if minutes % 7 == 6 { "klingon opera" } else { "klingon" };
        let uuid = publish(table, activity("worf", text, minutes)).await.uuid;
        pairs.extend((minutes % 7 == 6).then_some(uuid));
    }

    for limit in [1, 3] {
        let page = first(limit);
        let words = search_words("opera klingon");
        let found = feeds::search(table, &words, &page, now()).await.unwrap();
        assert_eq!(found.entries.len(), limit);
        let read = async |page| feeds::search(table, &words, &page, now()).await.unwrap();
        let found: Vec<Uuid> =
            all_pages(limit, read).await.iter().map(|activity| activity.uuid).collect();
        assert_eq!(found, pairs, "pages of {limit}");
    }
}

async fn the_first_page_has_a_hit_of_a_rare_word_beside_longer_frequent_words(store: Store) {
    let table = store.table();
    let hit = publish(table, activity("andrew", "something about ds9x", 59)).await.uuid;
    publish(table, activity("andrew", "ds9x", 58)).await;
    let frequent: Vec<_> =
        (0..120).map(|n| activity("worf", &format!("about something {n}"), n % 50)).collect();
    for activity in frequent {
        publish(table, activity).await;
    }

    for term in ["about ds9x", "ds9x something", "about something ds9x"] {
        let words = search_words(term);
        let found = feeds::search(table, &words, &first(5), now()).await.unwrap();

        let found: Vec<Uuid> = found.entries.iter().map(|activity| activity.uuid).collect();
        assert_eq!(found, [hit], "{term}");
    }
}

async fn an_activity_of_many_words_is_found_by_the_first_64(store: Store) {
    let table = store.table();
    let words: Vec<String> = (0..70).map(|n| format!("w{n:02}")).collect();
    let message = MessageText::parse(&words.join(" ")).unwrap();
    let activity = publish(table, Activity { message, ..activity("andrew", "x", 1) }).await;

    assert_eq!(search(table, "w00").await, [activity.uuid]);
    assert_eq!(search(table, "w63").await, [activity.uuid]);
    assert_eq!(search(table, "w64").await, Vec::<Uuid>::new());
}
