//! Get and query: what is found, in which order, and what has expired.

use cruddur::store::Consistency::Eventual;
use cruddur::store::Order::{Ascending, Descending};

use super::*;
use cruddur_tests::Store;

on_both_stores! {
    a_query_sees_its_partition_in_the_order_it_asks_for,
    sort_keys_are_compared_byte_by_byte,
    both_ends_of_a_range_belong_to_it,
    a_prefix_is_a_range,
    a_range_that_is_empty_or_backwards_finds_nothing,
    many_questions_are_answered_in_their_order,
    nothing_asked_is_nothing_answered,
    a_page_is_no_longer_than_its_limit_and_says_where_to_go_on,
    a_page_that_ends_with_the_partition_says_so,
    expired_items_take_no_place_on_a_page,
    pages_of_a_range_stay_in_it,
    an_index_has_keys_and_expiry_only,
    an_eventual_read_finds_what_settled,
    an_index_gives_the_items_placed_in_it_by_their_keys_there,
    items_are_found_by_key_in_the_order_of_the_question,
    more_keys_than_one_request_takes_are_all_looked_up,
    from_the_second_in_which_it_expires_an_item_is_not_found,
    every_value_comes_back_as_it_was,
}

async fn a_query_sees_its_partition_in_the_order_it_asks_for(store: Store) {
    let table = store.table();
    put(table, ["b", "c", "a"].map(|sort| item("p", sort))).await;
    put(table, [item("q", "b"), item("p2", "b")]).await;

    let up = page(table, all_of("p", Ascending)).await;
    let down = page(table, all_of("p", Descending)).await;

    assert_eq!(sorts(&up), ["a", "b", "c"]);
    assert_eq!(sorts(&down), ["c", "b", "a"]);
    assert_eq!(up.items[0], item("p", "a"));
}

async fn sort_keys_are_compared_byte_by_byte(store: Store) {
    // In UTF-16, which other engines compare, the emoji would come before U+FFFF.
    let in_order = ["\u{1}", "#", "0", "Z", "a", "a b", "~", "é", "\u{FFFF}", "😀"];
    put(store.table(), in_order.iter().rev().map(|sort| item("p", sort))).await;

    let page = page(store.table(), all_of("p", Ascending)).await;

    assert_eq!(sorts(&page), in_order);
}

async fn both_ends_of_a_range_belong_to_it(store: Store) {
    put(store.table(), ["a", "b", "bb", "c", "d"].map(|sort| item("p", sort))).await;

    for (order, expected) in [(Ascending, ["b", "bb", "c"]), (Descending, ["c", "bb", "b"])] {
        let between = Some(("b".to_owned(), "c".to_owned()));
        let page = page(store.table(), Query { between, ..all_of("p", order) }).await;
        assert_eq!(sorts(&page), expected);
    }
}

async fn a_prefix_is_a_range(store: Store) {
    put(store.table(), ["LIKE#a", "REPLY#1", "REPLY#2", "ROOT"].map(|sort| item("p", sort))).await;

    let between = Some(("REPLY#".to_owned(), "REPLY#~".to_owned()));
    let page = page(store.table(), Query { between, ..all_of("p", Ascending) }).await;

    assert_eq!(sorts(&page), ["REPLY#1", "REPLY#2"]);
}

async fn a_range_that_is_empty_or_backwards_finds_nothing(store: Store) {
    put(store.table(), ["a", "c"].map(|sort| item("p", sort))).await;

    for (first, last) in [("b", "b"), ("d", "e"), ("c", "a")] {
        let between = Some((first.to_owned(), last.to_owned()));
        let page = page(store.table(), Query { between, ..all_of("p", Ascending) }).await;
        assert_eq!((sorts(&page), page.next.as_deref()), (vec![], None), "{first} to {last}");
    }
}

async fn many_questions_are_answered_in_their_order(store: Store) {
    let partitions: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    put(store.table(), partitions.iter().skip(1).map(|p| item(p, p))).await;

    let queries: Vec<Query> = partitions.iter().map(|p| all_of(p, Ascending)).collect();
    let pages = store.table().query(&queries).await.unwrap();

    assert!(pages[0].items.is_empty());
    let found: Vec<&str> = pages.iter().flat_map(sorts).collect();
    assert_eq!(found, partitions[1..]);
}

async fn nothing_asked_is_nothing_answered(store: Store) {
    assert_eq!(store.table().query(&[]).await.unwrap(), []);
    assert_eq!(store.table().get(&[], Strong, now()).await.unwrap(), []);
    assert_eq!(page(store.table(), all_of("nothing", Ascending)).await.items, []);
}

async fn a_page_is_no_longer_than_its_limit_and_says_where_to_go_on(store: Store) {
    put(store.table(), ["a", "b", "c"].map(|sort| item("p", sort))).await;

    for (order, first, second) in [(Ascending, ["a", "b"], "c"), (Descending, ["c", "b"], "a")] {
        let query = Query { limit: 2, ..all_of("p", order) };
        let first_page = page(store.table(), query.clone()).await;
        let after = first_page.next.clone();
        let second_page = page(store.table(), Query { after: after.clone(), ..query }).await;

        assert_eq!((sorts(&first_page), after.as_deref()), (first.to_vec(), Some(first[1])));
        assert_eq!((sorts(&second_page), second_page.next.as_deref()), (vec![second], None));
    }
}

async fn a_page_that_ends_with_the_partition_says_so(store: Store) {
    put(store.table(), ["a", "b"].map(|sort| item("p", sort))).await;

    for limit in [2, 3] {
        let page = page(store.table(), Query { limit, ..all_of("p", Ascending) }).await;
        // A cursor would be allowed, but the page behind it would be empty.
        assert_eq!((sorts(&page), page.next.as_deref()), (vec!["a", "b"], None));
    }
}

async fn expired_items_take_no_place_on_a_page(store: Store) {
    let dead = (0..7).map(|n| expiring(item("p", &format!("a{n}")), NOW));
    put(store.table(), dead).await;
    put(store.table(), ["b", "c", "d"].map(|sort| expiring(item("p", sort), NOW + 1))).await;

    let mut query = Query { limit: 2, ..all_of("p", Ascending) };
    let mut seen = Vec::new();
    loop {
        let page = page(store.table(), query.clone()).await;
        assert!(page.items.len() <= 2, "{page:?}");
        seen.extend(sorts(&page).into_iter().map(str::to_owned));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }

    assert_eq!(seen, ["b", "c", "d"]);
}

async fn pages_of_a_range_stay_in_it(store: Store) {
    put(store.table(), ["a", "b", "c", "d", "e"].map(|sort| item("p", sort))).await;

    for (order, after, expected) in [
        (Ascending, "b", vec!["c", "d"]),
        (Ascending, "a", vec!["b", "c", "d"]), // a cursor from outside the range
        (Ascending, "d", vec![]),
        (Ascending, "z", vec![]),
        (Descending, "c", vec!["b"]),
        (Descending, "z", vec!["d", "c", "b"]),
        (Descending, "b", vec![]),
        (Descending, "a", vec![]),
    ] {
        let between = Some(("b".to_owned(), "d".to_owned()));
        let after = Some(after.to_owned());
        let query = Query { between, after: after.clone(), ..all_of("p", order) };
        let page = page(store.table(), query).await;
        assert_eq!((sorts(&page), page.next.as_deref()), (expected, None), "{order:?} {after:?}");
    }
}

async fn an_index_gives_the_items_placed_in_it_by_their_keys_there(store: Store) {
    let table = store.table();
    put(table, [listed(item("p", "a"), "h", "2"), listed(item("q", "b"), "h", "1")]).await;
    put(table, [item("p", "c"), listed(item("p", "d"), "other", "0")]).await;

    let all = listing(table, all_of("h", Descending), 2).await;
    let first = Query { limit: 1, ..all_of("h", Ascending) };
    let first_page = listing(table, first.clone(), 1).await;
    let after = first_page.next.clone();
    let second_page = listing(table, Query { after: after.clone(), ..first }, 1).await;

    let both = [listed(item("p", "a"), "h", "2"), listed(item("q", "b"), "h", "1")];
    assert_eq!(all.items, both.map(|item| Item { attributes: Map::new(), ..item }));
    assert_eq!((sorts(&first_page), after.as_deref()), (vec!["b"], Some("1")));
    assert_eq!((sorts(&second_page), second_page.next.as_deref()), (vec!["a"], None));
}

async fn items_are_found_by_key_in_the_order_of_the_question(store: Store) {
    put(store.table(), [item("p", "a"), item("q", "b")]).await;

    let keys = [key("q", "b"), key("p", "nothing"), key("p", "a"), key("q", "b")];
    let found = store.table().get(&keys, Strong, now()).await.unwrap();

    let [a, b] = [item("p", "a"), item("q", "b")];
    assert_eq!(found, [Some(b.clone()), None, Some(a), Some(b)]);
}

async fn more_keys_than_one_request_takes_are_all_looked_up(store: Store) {
    let all: Vec<Item> = (0..150).map(|n| item("p", &format!("{n:03}"))).collect();
    put(store.table(), all.clone()).await;

    let keys: Vec<Key> = all.iter().rev().map(|item| item.key.clone()).collect();
    let found = store.table().get(&keys, Strong, now()).await.unwrap();

    assert_eq!(found, all.into_iter().rev().map(Some).collect::<Vec<_>>());
}

async fn from_the_second_in_which_it_expires_an_item_is_not_found(store: Store) {
    let mortal = listed(expiring(item("p", "a"), NOW), "h", "a");
    put(store.table(), [mortal.clone(), listed(item("p", "b"), "h", "b")]).await;
    let micro = jiff::SignedDuration::from_micros(1);

    for (now, alive) in [
        (second(NOW - 1), vec!["a", "b"]),
        (second(NOW) - micro, vec!["a", "b"]),
        (second(NOW), vec!["b"]),
        (second(NOW) + micro, vec!["b"]),
    ] {
        let from_table = page(store.table(), Query { now, ..all_of("p", Ascending) }).await;
        let query = Query { now, ..all_of("h", Ascending) };
        let from_index = listing(store.table(), query, alive.len()).await;
        let keys = [mortal.key.clone()];
        let found = store.table().get(&keys, Strong, now).await.unwrap().remove(0);

        assert_eq!(sorts(&from_table), alive, "{now}");
        assert_eq!(sorts(&from_index), alive, "{now}");
        assert_eq!(found.is_some(), alive.contains(&"a"), "{now}");
    }
}

async fn every_value_comes_back_as_it_was(store: Store) {
    let attributes = json!({
        "empty": "",
        "odd": "NUL \u{0}, U+FFFF \u{FFFF}, 😀, e\u{301}, \"quotes\" and \\",
        "largest": i64::MAX,
        "smallest": i64::MIN,
        "zero": 0,
        "yes": true,
        "no": false,
        "nothing": null,
        "list": ["a", 1, [null], {}],
        "map": {"inner": {"é b": ""}},
        "select": "a reserved word",
    });
    let odd = Item {
        attributes: attributes.as_object().unwrap().clone(),
        ..item("a partition/with #odd 'characters' \u{0} 😀", "and \"sort\"\u{FFFF}")
    };
    put(store.table(), [odd.clone()]).await;

    assert_eq!(get(store.table(), odd.key.clone()).await, Some(odd));
}

async fn an_index_has_keys_and_expiry_only(store: Store) {
    let placed = expiring(listed(item("p", "a"), "h", "1"), NOW + 60);
    put(store.table(), [placed.clone(), expiring(listed(item("p", "b"), "h", "2"), NOW)]).await;

    let found = listing(store.table(), all_of("h", Ascending), 1).await.items;

    assert_eq!(found, [Item { attributes: Map::new(), ..placed }]);
}

async fn an_eventual_read_finds_what_settled(store: Store) {
    put(store.table(), [item("p", "a")]).await;
    let eventual = Query { consistency: Eventual, ..all_of("p", Ascending) };

    let queried = || async { page(store.table(), eventual.clone()).await.items };
    let got = || async { store.table().get(&[key("p", "a")], Eventual, now()).await.unwrap() };

    assert_eq!(eventually(queried, |items| !items.is_empty()).await, [item("p", "a")]);
    assert_eq!(eventually(got, |items| items[0].is_some()).await, [Some(item("p", "a"))]);
}
