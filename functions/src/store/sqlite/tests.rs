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
        home: None,
        expires_at_seconds: FAR,
        attributes: Map::from_iter([("said".to_owned(), json!("Hello"))]),
    }
}

fn all_of(partition: &str, order: Order) -> Query {
    Query {
        index: None,
        partition: partition.to_owned(),
        between: None,
        order,
        after: None,
        limit: 100,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn sorts(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.key.sort.as_str()).collect()
}

async fn put(table: &SqliteTable, items: impl IntoIterator<Item = Item>) {
    let writes: Vec<Write> = items.into_iter().map(Write::Put).collect();
    table.transact_write(&writes).await.unwrap();
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
        home: Some(Key { partition: "h".to_owned(), sort: home.to_owned() }),
        ..item("p", sort)
    };
    put(&table, [placed("a", "2"), placed("b", "1"), item("p", "c")]).await;

    let index = Some(Index::Home);
    let first = Query { index, limit: 1, ..all_of("h", Order::Ascending) };
    let first_page = page(&table, first.clone()).await;
    let second_page = page(&table, Query { after: first_page.next.clone(), ..first }).await;

    assert_eq!((sorts(&first_page), first_page.next.as_deref()), (vec!["b"], Some("1")));
    assert_eq!((sorts(&second_page), second_page.next.as_deref()), (vec!["a"], None));
}

#[tokio::test]
async fn an_item_is_gone_from_the_second_in_which_it_expires_and_purged_by_a_later_write() {
    let table = table();
    let expired = Item { expires_at_seconds: 1_000, ..item("p", "a") };
    let at = |second| Query {
        now: Timestamp::from_second(second).unwrap(),
        ..all_of("p", Order::Ascending)
    };
    put(&table, [expired]).await;

    assert_eq!(page(&table, at(999)).await.items.len(), 1);
    assert_eq!(page(&table, at(1_000)).await.items.len(), 0);

    put(&table, [item("p", "b")]).await;
    assert_eq!(sorts(&page(&table, at(999)).await), ["b"]);
}

#[tokio::test]
async fn a_transaction_replaces_and_removes() {
    let table = table();
    put(&table, [item("p", "a"), item("p", "b")]).await;
    let newer = Item { attributes: Map::new(), ..item("p", "b") };

    let writes = [Write::Delete(item("p", "a").key), Write::Put(newer.clone())];
    table.transact_write(&writes).await.unwrap();

    assert_eq!(page(&table, all_of("p", Order::Ascending)).await.items, [newer]);
}

#[test]
fn several_processes_may_make_and_fill_one_file_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = &directory.path().join("made/on/open.db");
    let write = |writer: usize| {
        // A connection of its own, as another process would have.
        let table = SqliteTable::open(path).unwrap();
        for n in 0..20 {
            table.run_writes(&[Write::Put(item("p", &format!("{writer}-{n}")))]).unwrap();
        }
    };

    thread::scope(|scope| (0..4).for_each(|writer| drop(scope.spawn(move || write(writer)))));

    let table = SqliteTable::open(path).unwrap();
    let pages = table.run_queries(&[all_of("p", Order::Ascending)]).unwrap();
    assert_eq!(pages[0].items.len(), 80);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_says_what_was_tried() {
    let directory = tempfile::tempdir().unwrap();

    let error = SqliteTable::open(directory.path()).err().unwrap();

    assert_eq!(error.to_string(), "open failed");
}
