use std::{collections::BTreeSet, thread};

use jiff::Timestamp;
use serde_json::{Map, json};

use super::*;

/// Nothing written here expires by the machine's clock before this.
const FAR: i64 = 4_102_444_800; // the year 2100

fn table() -> SqliteTable {
    SqliteTable::open(Path::new(":memory:")).unwrap()
}

fn item(partition: &str, sort: &str) -> Item {
    Item {
        key: Key { partition: partition.to_owned(), sort: sort.to_owned() },
        listing: None,
        expires_at_seconds: Some(FAR),
        attributes: Map::from_iter([("said".to_owned(), json!("Hello"))]),
    }
}

fn all_of(partition: &str, order: Order) -> Query {
    Query {
        index: None,
        partition: partition.to_owned(),
        between: None,
        order,
        consistency: Consistency::Strong,
        after: None,
        limit: 100,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn sorts(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.key.sort.as_str()).collect()
}

async fn put(table: &SqliteTable, items: impl IntoIterator<Item = Item>) {
    let writes: Vec<Write> = items.into_iter().map(Write::Upsert).collect();
    table.transact_write(&writes, Timestamp::UNIX_EPOCH).await.unwrap();
}

async fn page(table: &SqliteTable, query: Query) -> Page {
    table.query(&[query]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_query_sees_its_partition_in_the_order_it_asks_for() {
    let table = table();
    put(&table, ["b", "c", "a"].map(|sort| item("p", sort))).await;
    put(&table, [item("q", "b")]).await;

    let pages = [all_of("p", Order::Ascending), all_of("p", Order::Descending)];
    let pages = table.query(&pages).await.unwrap();

    assert_eq!(sorts(&pages[0]), ["a", "b", "c"]);
    assert_eq!(sorts(&pages[1]), ["c", "b", "a"]);
    assert_eq!(pages[0].items[0], item("p", "a"));
}

#[tokio::test]
async fn both_ends_of_a_range_belong_to_it() {
    let table = table();
    put(&table, ["a", "b", "bb", "c", "d"].map(|sort| item("p", sort))).await;

    let between = Some(("b".to_owned(), "c".to_owned()));
    let page = page(&table, Query { between, ..all_of("p", Order::Ascending) }).await;

    assert_eq!(sorts(&page), ["b", "bb", "c"]);
}

#[tokio::test]
async fn pages_join_without_a_gap_or_a_repeat_while_others_write() {
    for (order, in_between) in [(Order::Ascending, "a0"), (Order::Descending, "z0")] {
        let table = table();
        put(&table, ["a", "b", "c", "d", "e"].map(|sort| item("p", sort))).await;
        let mut seen = Vec::new();
        let mut query = Query { limit: 2, ..all_of("p", order) };
        loop {
            let page = page(&table, query.clone()).await;
            seen.extend(page.items.iter().map(|item| item.key.sort.clone()));
            put(&table, [item("p", in_between)]).await; // before where the reader is
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert_eq!(BTreeSet::from_iter(&seen).len(), 5, "{seen:?}");
    }
}

#[tokio::test]
async fn an_index_gives_the_items_placed_in_it_by_their_keys_there() {
    let table = table();
    let placed = |sort: &str, home: &str| Item {
        listing: Some(Key { partition: "h".to_owned(), sort: home.to_owned() }),
        ..item("p", sort)
    };
    put(&table, [placed("a", "2"), placed("b", "1"), item("p", "c")]).await;

    let index = Some(Index::Listing);
    let first = Query { index, limit: 1, ..all_of("h", Order::Ascending) };
    let first_page = page(&table, first.clone()).await;
    let second_page = page(&table, Query { after: first_page.next.clone(), ..first }).await;

    assert_eq!((sorts(&first_page), first_page.next.as_deref()), (vec!["b"], Some("1")));
    assert_eq!((sorts(&second_page), second_page.next.as_deref()), (vec!["a"], None));
}

#[tokio::test]
async fn from_the_second_in_which_it_expires_an_item_does_not_exist() {
    let table = table();
    let mortal = Item { expires_at_seconds: Some(1_000), ..item("p", "a") };
    let immortal = Item { expires_at_seconds: None, ..item("p", "b") };
    put(&table, [mortal.clone(), immortal.clone()]).await;
    let keys = [mortal.key.clone(), immortal.key.clone()];

    for (second, alive) in [(999, vec!["a", "b"]), (1_000, vec!["b"])] {
        let now = Timestamp::from_second(second).unwrap();
        let page = page(&table, Query { now, ..all_of("p", Order::Ascending) }).await;
        assert_eq!(sorts(&page), alive);
        let found = table.get(&keys, Consistency::Strong, now).await.unwrap();
        assert_eq!(found.iter().flatten().count(), alive.len());
    }

    let now = Timestamp::from_second(1_000).unwrap();
    let removed = table.transact_write(&[Write::DeleteExisting(keys[0].clone())], now).await;
    assert!(removed.unwrap_err().is_condition_of(0));
    table.transact_write(&[Write::Insert(mortal)], now).await.unwrap();
}

#[tokio::test]
async fn what_has_expired_is_purged_by_a_later_write() {
    let table = table();
    put(&table, [Item { expires_at_seconds: Some(1_000), ..item("p", "a") }]).await;

    let later = Timestamp::from_second(1_000).unwrap();
    table.transact_write(&[Write::Upsert(item("p", "b"))], later).await.unwrap();

    // Asked as of a time at which it was alive, to see what is left in the file.
    assert_eq!(sorts(&page(&table, all_of("p", Order::Ascending)).await), ["b"]);
}

#[tokio::test]
async fn items_are_found_by_key_in_the_order_of_the_question() {
    let table = table();
    put(&table, [item("p", "a"), item("q", "b")]).await;

    let keys = [item("q", "b").key, item("p", "nothing").key, item("p", "a").key];
    let found = table.get(&keys, Consistency::Strong, Timestamp::UNIX_EPOCH).await.unwrap();

    assert_eq!(found, [Some(item("q", "b")), None, Some(item("p", "a"))]);
}

#[tokio::test]
async fn a_transaction_whose_conditions_do_not_hold_writes_nothing_and_names_them() {
    let table = table();
    put(&table, [item("p", "there")]).await;
    let there = item("p", "there").key;
    let missing = item("p", "missing").key;
    let update = |key: &Key| {
        Write::Update(Update {
            key: key.clone(),
            add: vec![("n", 1)],
            set: Map::new(),
            listing: None,
        })
    };

    for refused in [
        Write::Insert(item("p", "there")),
        Write::DeleteExisting(missing.clone()),
        update(&missing),
    ] {
        let writes = [Write::Upsert(item("p", "new")), refused.clone()];
        let error = table.transact_write(&writes, Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert!(!error.is_condition_of(0) && error.is_condition_of(1), "{refused:?}: {error}");
    }
    assert_eq!(sorts(&page(&table, all_of("p", Order::Ascending)).await), ["there"]);

    for fine in [
        Write::DeleteIfPresent(missing.clone()),
        update(&there),
        Write::DeleteExisting(there),
        Write::Insert(item("p", "new")),
    ] {
        table.transact_write(&[fine], Timestamp::UNIX_EPOCH).await.unwrap();
    }
    assert_eq!(sorts(&page(&table, all_of("p", Order::Ascending)).await), ["new"]);
}

#[tokio::test]
async fn an_update_counts_sets_and_moves_and_leaves_the_rest() {
    let table = table();
    let place = |sort: &str| Key { partition: "h".to_owned(), sort: sort.to_owned() };
    put(&table, [Item { listing: Some(place("1")), ..item("p", "a") }]).await;
    let update = Update {
        key: item("p", "a").key,
        add: vec![("likes", 2)],
        set: Map::from_iter([("name".to_owned(), json!("Worf"))]),
        listing: Some(place("2")),
    };
    let once_less = Update { add: vec![("likes", -1)], listing: None, ..update.clone() };

    for update in [update, once_less] {
        table.transact_write(&[Write::Update(update)], Timestamp::UNIX_EPOCH).await.unwrap();
    }

    let index = Some(Index::Listing);
    let page = page(&table, Query { index, ..all_of("h", Order::Ascending) }).await;
    let attributes = json!({"said": "Hello", "likes": 1, "name": "Worf"});
    assert_eq!((page.items.len(), &page.items[0].listing), (1, &Some(place("2"))));
    let key = [page.items[0].key.clone()];
    let read = table.get(&key, Consistency::Eventual, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(Value::Object(read[0].clone().unwrap().attributes), attributes);
}

#[tokio::test]
async fn too_many_writes_and_two_to_one_item_are_refused() {
    let table = table();
    let many: Vec<_> = (0..101).map(|n| Write::Upsert(item("p", &n.to_string()))).collect();
    let twice = [Write::Upsert(item("p", "a")), Write::DeleteIfPresent(item("p", "a").key)];

    for writes in [many.as_slice(), &twice] {
        let error = table.transact_write(writes, Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert_eq!(error.kind(), "engine");
    }
    assert!(page(&table, all_of("p", Order::Ascending)).await.items.is_empty());
}

#[tokio::test]
async fn a_transaction_replaces_and_removes() {
    let table = table();
    put(&table, [item("p", "a"), item("p", "b")]).await;
    let newer = Item { attributes: Map::new(), ..item("p", "b") };

    let writes = [Write::DeleteIfPresent(item("p", "a").key), Write::Upsert(newer.clone())];
    table.transact_write(&writes, Timestamp::UNIX_EPOCH).await.unwrap();

    assert_eq!(page(&table, all_of("p", Order::Ascending)).await.items, [newer]);
}

#[test]
fn several_processes_may_make_and_fill_one_file_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = &directory.path().join("made/on/open.db");
    let write = |writer: usize| {
        // A separate connection, as another process has.
        let table = SqliteTable::open(path).unwrap();
        for n in 0..20 {
            table
                .run_writes(
                    &[Write::Upsert(item("p", &format!("{writer}-{n}")))],
                    Timestamp::UNIX_EPOCH,
                )
                .unwrap();
        }
    };

    thread::scope(|scope| (0..4).for_each(|writer| drop(scope.spawn(move || write(writer)))));

    let table = SqliteTable::open(path).unwrap();
    let pages = table.run_queries(&[all_of("p", Order::Ascending)]).unwrap();
    assert_eq!(pages[0].items.len(), 80);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_with_its_path_and_the_reason_once() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("a text.db");
    std::fs::write(&text, "This is not a database, although it is long enough to be one.").unwrap();
    for (path, reason) in [
        (directory.path().to_owned(), "unable to open database file"),
        (text.clone(), "file is not a database"),
        (text.join("below.db"), "its directory cannot be made"),
    ] {
        let error = SqliteTable::open(&path).err().unwrap();

        let said = error.to_string();
        let begin = format!("the database {} cannot be used: {reason}", path.display());
        assert!(said.starts_with(&begin), "{said}");
        assert!(said.ends_with("; CRUDDUR_SQLITE names another file"), "{said}");
        assert_eq!(said.matches(reason).count(), 1, "{said}");
        assert_eq!(error.kind(), "file");
    }
}

#[test]
fn a_file_that_becomes_read_only_is_an_error_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    let table = SqliteTable::open(&path).unwrap();
    table.connection.lock().unwrap().pragma_update(None, "query_only", true).unwrap();

    let error = table.run_puts(&[item("p", "a")]).unwrap_err();

    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}
