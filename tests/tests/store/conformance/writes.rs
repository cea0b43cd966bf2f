//! Transactions: all or nothing, conditions, counters, limits.

use cruddur::store::Order::Ascending;
use serde_json::Value;

use super::*;
use cruddur_tests::Store;

on_both_stores! {
    a_transaction_creates_replaces_and_removes_at_once,
    an_unmet_condition_writes_nothing_and_is_named,
    all_unmet_conditions_are_named,
    conditions_that_hold_let_the_transaction_pass,
    what_has_expired_does_not_exist_for_conditions,
    removing_what_is_not_there_is_fine_where_it_need_not_be,
    an_update_counts_and_sets_and_leaves_the_rest,
    an_update_moves_an_item_in_the_index,
    an_item_never_moves_back_in_the_index,
    replacing_an_item_takes_it_out_of_the_index,
    counting_makes_the_item_and_stops_at_its_bound,
    erasing_takes_attributes_and_the_place_in_the_index_on_condition_of_a_value,
    a_transaction_of_a_hundred_passes_and_one_more_is_refused,
    two_writes_to_one_item_are_refused,
    a_transaction_of_nothing_is_done,
    a_write_is_seen_at_once_by_others,
    items_put_each_by_itself_are_made_or_replaced,
}

async fn a_transaction_creates_replaces_and_removes_at_once(store: Store) {
    let table = store.table();
    put(table, [item("p", "a"), item("p", "b")]).await;
    let newer = Item { attributes: Map::from_iter([("n".to_owned(), json!(1))]), ..item("p", "b") };

    let writes = [
        Write::DeleteExisting(key("p", "a")),
        Write::Upsert(newer.clone()),
        Write::Insert(item("p", "c")),
    ];
    write(table, &writes).await.unwrap();

    assert_eq!(page(table, all_of("p", Ascending)).await.items, [newer, item("p", "c")]);
}

async fn an_unmet_condition_writes_nothing_and_is_named(store: Store) {
    let table = store.table();
    put(table, [item("p", "there"), item("p", "count")]).await;
    let before = store.dump().await;

    for refused in [
        Write::Insert(item("p", "there")),
        Write::DeleteExisting(key("p", "missing")),
        add(key("p", "missing"), "n", 1),
    ] {
        let writes =
            [Write::Upsert(item("p", "new")), add(key("p", "count"), "n", 1), refused.clone()];
        let error = write(table, &writes).await.unwrap_err();

        assert_eq!(error.kind(), "conditions_failed", "{refused:?}");
        assert!(!error.is_condition_of(0) && !error.is_condition_of(1), "{refused:?}: {error}");
        assert!(error.is_condition_of(2), "{refused:?}: {error}");
        assert_eq!(store.dump().await, before, "{refused:?}");
    }
}

async fn all_unmet_conditions_are_named(store: Store) {
    put(store.table(), [item("p", "there")]).await;

    let writes = [
        Write::Insert(item("p", "there")),
        Write::Upsert(item("p", "fine")),
        Write::DeleteExisting(key("p", "missing")),
    ];
    let error = write(store.table(), &writes).await.unwrap_err();

    assert!(
        matches!(&error, StoreError::ConditionsFailed { failed } if *failed == [0, 2]),
        "{error:?}"
    );
}

async fn conditions_that_hold_let_the_transaction_pass(store: Store) {
    let table = store.table();
    put(table, [item("p", "b"), item("p", "c")]).await;

    let writes = [
        Write::DeleteExisting(key("p", "b")),
        add(key("p", "c"), "n", 1),
        Write::Insert(item("p", "d")),
    ];
    write(table, &writes).await.unwrap();

    let after = page(table, all_of("p", Ascending)).await;
    assert_eq!(sorts(&after), ["c", "d"]);
}

async fn what_has_expired_does_not_exist_for_conditions(store: Store) {
    let table = store.table();
    let dead = expiring(item("p", "a"), NOW);
    for refused in [Write::DeleteExisting(key("p", "a")), add(key("p", "a"), "n", 1)] {
        table.transact_write(&[Write::Upsert(dead.clone())], second(NOW - 1)).await.unwrap();
        let error = write(table, std::slice::from_ref(&refused)).await.unwrap_err();
        assert!(error.is_condition_of(0), "{refused:?}: {error}");
    }

    let reborn = expiring(item("p", "a"), NOW + 60);
    write(table, &[Write::Insert(reborn.clone())]).await.unwrap();

    assert_eq!(get(table, key("p", "a")).await, Some(reborn));
}

async fn removing_what_is_not_there_is_fine_where_it_need_not_be(store: Store) {
    put(store.table(), [item("p", "a")]).await;

    let writes =
        [Write::DeleteIfPresent(key("p", "a")), Write::DeleteIfPresent(key("p", "missing"))];
    write(store.table(), &writes).await.unwrap();

    assert_eq!(store.dump().await, Vec::<String>::new());
}

async fn an_update_counts_and_sets_and_leaves_the_rest(store: Store) {
    let table = store.table();
    put(table, [expiring(item("p", "a"), NOW + 60)]).await;
    let set = Map::from_iter([("name".to_owned(), json!("Worf")), ("list".to_owned(), json!([1]))]);
    let key = key("p", "a");

    let add_two = vec![("likes", 2), ("replies", 1)];
    let update = Update { key: key.clone(), add: add_two, set, listing: None };
    write(table, &[Write::Update(update)]).await.unwrap();
    write(table, &[add(key.clone(), "likes", -1)]).await.unwrap();

    let after = get(table, key).await.unwrap();
    let expected = json!({"said": "Hello", "likes": 1, "replies": 1, "name": "Worf", "list": [1]});
    assert_eq!(Value::Object(after.attributes), expected);
    assert_eq!(after.expires_at_seconds, Some(NOW + 60));
}

async fn an_update_moves_an_item_in_the_index(store: Store) {
    let table = store.table();
    put(table, [listed(item("p", "a"), "h", "1"), listed(item("p", "b"), "h", "2")]).await;

    let place = Some(key("h", "3"));
    let update = Update { key: key("p", "a"), add: Vec::new(), set: Map::new(), listing: place };
    write(table, &[Write::Update(update)]).await.unwrap();

    let ask = || listing(table, all_of("h", Ascending), 2);
    let moved = eventually(ask, |page| sorts(page) == ["b", "a"]).await;
    assert_eq!(sorts(&moved), ["b", "a"]);
}

async fn an_item_never_moves_back_in_the_index(store: Store) {
    let table = store.table();
    put(table, [listed(item("p", "a"), "h", "5"), item("p", "b")]).await;
    let before = store.dump().await;
    let to = |sort: &str, place: &str| {
        let set = Map::from_iter([("said".to_owned(), json!("too late"))]);
        let listing = Some(key("h", place));
        Write::Update(Update { key: key("p", sort), add: Vec::new(), set, listing })
    };

    for place in ["4", "5"] {
        let error = write(table, &[to("b", "1"), to("a", place)]).await.unwrap_err();
        assert!(!error.is_condition_of(0) && error.is_condition_of(1), "{place}: {error:?}");
    }

    assert_eq!(store.dump().await, before);
    write(table, &[to("b", "1"), to("a", "6")]).await.unwrap();
}

async fn counting_makes_the_item_and_stops_at_its_bound(store: Store) {
    let table = store.table();
    let count = |bound: Option<i64>| {
        Write::Count(Count {
            key: key("p", "a"),
            add: vec![("n", 1), ("m", 2)],
            below: bound.map(|bound| ("n", bound)),
            expires_at_seconds: Some(NOW + 60),
        })
    };

    for _ in 0..3 {
        write(table, &[count(Some(3))]).await.unwrap();
    }
    let refused = write(table, &[Write::Upsert(item("p", "b")), count(Some(3))]).await.unwrap_err();
    let counted = get(table, key("p", "a")).await.unwrap();
    write(table, &[count(None)]).await.unwrap();

    assert!(!refused.is_condition_of(0) && refused.is_condition_of(1), "{refused}");
    assert_eq!(get(table, key("p", "b")).await, None);
    assert_eq!(Value::Object(counted.attributes), json!({"n": 3, "m": 6}));
    assert_eq!(counted.expires_at_seconds, Some(NOW + 60));
    assert_eq!(get(table, key("p", "a")).await.unwrap().attributes["n"], 4);
}

async fn erasing_takes_attributes_and_the_place_in_the_index_on_condition_of_a_value(store: Store) {
    let table = store.table();
    let mut written = listed(expiring(item("p", "a"), NOW + 60), "l", "1");
    written.attributes.insert("author".to_owned(), json!("worf"));
    written.attributes.insert("n".to_owned(), json!(7));
    put(table, [written.clone()]).await;
    listing(table, all_of("l", Ascending), 1).await;
    let erase = |sort: &str, author: &str| {
        Write::Erase(Erase {
            key: key("p", sort),
            only_if: ("author", json!(author)),
            remove: vec!["author", "said", "missing"],
            set: Map::from_iter([("deleted".to_owned(), json!(true))]),
        })
    };
    for refused in [erase("a", "data"), erase("missing", "worf")] {
        let error = write(table, std::slice::from_ref(&refused)).await.unwrap_err();
        assert!(error.is_condition_of(0), "{refused:?}: {error}");
    }
    assert_eq!(get(table, key("p", "a")).await, Some(written.clone()));

    write(table, &[erase("a", "worf")]).await.unwrap();

    let attributes =
        Map::from_iter([("n".to_owned(), json!(7)), ("deleted".to_owned(), json!(true))]);
    let left = Item { listing: None, attributes, ..written };
    assert_eq!(get(table, key("p", "a")).await, Some(left));
    listing(table, all_of("l", Ascending), 0).await;
    let again = write(table, &[erase("a", "worf")]).await.unwrap_err();
    assert!(again.is_condition_of(0), "{again}");
    put(table, [expiring(item("p", "late"), NOW)]).await;
    let said = Erase {
        only_if: ("said", json!("Hello")),
        key: key("p", "late"),
        remove: vec![],
        set: Map::new(),
    };
    let expired = write(table, &[Write::Erase(said)]).await.unwrap_err();
    assert!(expired.is_condition_of(0), "{expired}");
}

async fn replacing_an_item_takes_it_out_of_the_index(store: Store) {
    let table = store.table();
    put(table, [listed(item("p", "a"), "h", "1")]).await;

    put(table, [item("p", "a")]).await;

    assert_eq!(listing(table, all_of("h", Ascending), 0).await.items, []);
}

async fn a_transaction_of_a_hundred_passes_and_one_more_is_refused(store: Store) {
    let creates = |count: usize, partition: &str| -> Vec<Write> {
        (0..count).map(|n| Write::Insert(item(partition, &n.to_string()))).collect()
    };

    write(store.table(), &creates(100, "p")).await.unwrap();
    let error = write(store.table(), &creates(101, "q")).await.unwrap_err();

    assert_eq!(error.kind(), "engine");
    assert_eq!(store.dump().await.len(), 100);
}

async fn two_writes_to_one_item_are_refused(store: Store) {
    for other in [Write::Upsert(item("p", "a")), Write::DeleteIfPresent(key("p", "a"))] {
        let writes = [Write::Upsert(item("p", "a")), Write::Upsert(item("p", "b")), other];
        let error = write(store.table(), &writes).await.unwrap_err();

        assert_eq!(error.kind(), "engine");
    }
    assert_eq!(store.dump().await, Vec::<String>::new());
}

async fn a_transaction_of_nothing_is_done(store: Store) {
    write(store.table(), &[]).await.unwrap();
}

async fn a_write_is_seen_at_once_by_others(store: Store) {
    let other = store.connect();
    for n in 0..10 {
        put(store.table(), [item("p", &n.to_string())]).await;

        assert_eq!(page(other.as_ref(), all_of("p", Ascending)).await.items.len(), n + 1);
        assert!(get(other.as_ref(), key("p", &n.to_string())).await.is_some());
    }
}

async fn items_put_each_by_itself_are_made_or_replaced(store: Store) {
    let table = store.table();
    put(table, [item("p", "000"), item("p", "other")]).await;
    let newer = |n: usize| {
        let attributes = Map::from_iter([("n".to_owned(), json!(n))]);
        listed(Item { attributes, ..item("p", &format!("{n:03}")) }, "h", &format!("{n:03}"))
    };

    let items: Vec<Item> = (0..60).map(newer).collect(); // more than one request takes
    table.put_each(&items).await.unwrap();
    table.put_each(&[]).await.unwrap();

    let written = page(table, all_of("p", Ascending)).await.items;
    assert_eq!(written, [items, vec![item("p", "other")]].concat());
    assert_eq!(listing(table, all_of("h", Ascending), 60).await.items.len(), 60);
}
