//! One suite, two stores: every test of the port and of the access patterns runs on SQLite and on
//! DynamoDB's wire protocol. `DYNAMODB_TEST_ENDPOINT` names another server than moto for the latter.
#![allow(
    clippy::unwrap_used,
    reason = "these functions are tests, though their attribute is elsewhere"
)]

/// Makes a test of each function for each store: `sqlite::it_holds` and `dynamodb::it_holds`.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(cruddur_tests::Store::sqlite().await).await;
            })+
        }
        mod dynamodb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(cruddur_tests::Store::dynamodb().await).await;
            })+
        }
    };
}

mod conformance;
mod faults;

mod world;
mod activities;
mod search;
mod people;
mod conversations;
mod names;
mod expiry;
mod lost_answers;
mod quota;
mod costs;

use cruddur::store::Consistency::Strong;
use cruddur::store::{
    Count, Erase, Index, Item, Key, Order, Page, Query, StoreError, Table, Update, Write,
};
use cruddur_tests::eventually;
use jiff::Timestamp;
use serde_json::{Map, json};

/// The second in which the tests of the port take place.
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    second(NOW)
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(partition: &str, sort: &str) -> Key {
    Key { partition: partition.to_owned(), sort: sort.to_owned() }
}

/// An item that never expires and stands in no index.
fn item(partition: &str, sort: &str) -> Item {
    Item {
        key: key(partition, sort),
        listing: None,
        expires_at_seconds: None,
        attributes: Map::from_iter([("said".to_owned(), json!("Hello"))]),
    }
}

fn expiring(item: Item, at: i64) -> Item {
    Item { expires_at_seconds: Some(at), ..item }
}

fn listed(item: Item, partition: &str, sort: &str) -> Item {
    Item { listing: Some(key(partition, sort)), ..item }
}

fn all_of(partition: &str, order: Order) -> Query {
    Query {
        index: None,
        partition: partition.to_owned(),
        between: None,
        order,
        consistency: Strong,
        after: None,
        limit: 100,
        now: now(),
    }
}

fn add(key: Key, counter: &'static str, difference: i64) -> Write {
    Write::Update(Update { key, add: vec![(counter, difference)], set: Map::new(), listing: None })
}

async fn put(table: &dyn Table, items: impl IntoIterator<Item = Item>) {
    let writes: Vec<Write> = items.into_iter().map(Write::Upsert).collect();
    for writes in writes.chunks(100) {
        table.transact_write(writes, now()).await.unwrap();
    }
}

async fn write(table: &dyn Table, writes: &[Write]) -> Result<(), StoreError> {
    table.transact_write(writes, now()).await
}

async fn page(table: &dyn Table, query: Query) -> Page {
    table.query(&[query]).await.unwrap().remove(0)
}

/// A page of the index, once it has so many items.
async fn listing(table: &dyn Table, query: Query, items: usize) -> Page {
    let query = Query { index: Some(Index::Listing), ..query };
    eventually(|| page(table, query.clone()), |page| page.items.len() == items).await
}

async fn get(table: &dyn Table, key: Key) -> Option<Item> {
    table.get(&[key], Strong, now()).await.unwrap().remove(0)
}

fn sorts(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.key.sort.as_str()).collect()
}
