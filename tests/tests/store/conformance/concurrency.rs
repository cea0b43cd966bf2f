//! Many writers at once, each with a connection of its own, as function processes have.

use cruddur_tests::Store;
use futures_util::future::join_all;

use super::*;

on_both_stores! {
    fifty_parallel_adds_are_exact,
    of_racing_creators_one_wins,
    transactions_that_cross_each_other_all_get_through,
}

async fn fifty_parallel_adds_are_exact(store: Store) {
    put(store.table(), [item("p", "a")]).await;

    let adds = (0..50).map(|_| {
        let table = store.connect();
        tokio::spawn(async move { write(table.as_ref(), &[add(key("p", "a"), "n", 1)]).await })
    });
    for added in join_all(adds).await {
        added.unwrap().unwrap();
    }

    assert_eq!(get(store.table(), key("p", "a")).await.unwrap().attributes["n"], 50);
}

async fn of_racing_creators_one_wins(store: Store) {
    for round in 0..5 {
        let creators = (0..10).map(|n| {
            let table = store.connect();
            let attributes = Map::from_iter([("creator".to_owned(), json!(n))]);
            let created = Item { attributes, ..item("p", &round.to_string()) };
            let creation = [Write::Insert(created), add(key("p", "count"), "n", 1)];
            tokio::spawn(async move { (n, write(table.as_ref(), &creation).await) })
        });
        put(store.table(), [item("p", "count")]).await;
        let outcomes = join_all(creators).await.into_iter().map(Result::unwrap);
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.partition(|(_, outcome)| outcome.is_ok());

        assert_eq!(won.len(), 1, "{won:?}");
        for (_, outcome) in lost {
            let error = outcome.unwrap_err();
            assert!(error.is_condition_of(0), "{error:?}");
        }
        let kept = get(store.table(), key("p", &round.to_string())).await.unwrap();
        assert_eq!(kept.attributes["creator"], won[0].0);
        assert_eq!(get(store.table(), key("p", "count")).await.unwrap().attributes["n"], 1);
    }
}

async fn transactions_that_cross_each_other_all_get_through(store: Store) {
    put(store.table(), [item("p", "a"), item("p", "b")]).await;

    let transfers = (0..40).map(|n| {
        let table = store.connect();
        let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let writes = [add(key("p", from), "n", -1), add(key("p", to), "n", 1)];
        tokio::spawn(async move { write(table.as_ref(), &writes).await })
    });
    for transferred in join_all(transfers).await {
        transferred.unwrap().unwrap();
    }

    for sort in ["a", "b"] {
        assert_eq!(get(store.table(), key("p", sort)).await.unwrap().attributes["n"], 0);
    }
}
