//! The port: what an engine must be able to do.
//!
//! It has the shape of a DynamoDB table, since that is what must grow: items in partitions, sorted
//! within them, readable by partition only; no scans, no joins. An item may also be placed in an
//! [`Index`], which is another arrangement of the same items.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// A store of items. One value serves a whole sandbox.
pub trait Table: Send + Sync {
    /// Runs all `queries` at once and gives a page for each, in their order.
    ///
    /// One slow answer does not wait for another: an engine behind a network is asked
    /// concurrently, so the number of queries costs capacity, not time.
    fn query<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Page>, StoreError>>;

    /// Does all `writes` or none of them. At most [`MAX_WRITES`], each to another item.
    fn transact_write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Most actions of one transaction.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
pub const MAX_WRITES: usize = 100;

/// The address of an item, unique in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which partition the item is in.
    pub partition: String,
    /// Where in the partition; items are sorted by the bytes of this.
    pub sort: String,
}

/// Another arrangement of the items that carry a key for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Top-level cruds by time, for the home feed.
    Home,
}

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its address.
    pub key: Key,
    /// Its place in [`Index::Home`], if it belongs there. Sort keys are unique there too.
    pub home: Option<Key>,
    /// When it may be deleted, in Unix seconds, the unit of DynamoDB's TTL. From that second on,
    /// queries do not give it back, deleted or not.
    pub expires_at_seconds: i64,
    /// All else.
    pub attributes: Map<String, Value>,
}

/// A question for a part of one partition.
#[derive(Clone, Debug)]
pub struct Query {
    /// The index to read, or the table itself.
    pub index: Option<Index>,
    /// The partition.
    pub partition: String,
    /// First and last sort key, both included; `None` reads the whole partition.
    pub between: Option<(String, String)>,
    /// In which order.
    pub order: Order,
    /// Gives only what comes behind this sort key in that order: [`Page::next`] of the page before.
    pub after: Option<String>,
    /// Most items of a page. Expired ones do not count.
    pub limit: usize,
    /// Now; what has expired by then is left out.
    pub now: Timestamp,
}

/// By sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest first; for times, oldest first.
    Ascending,
    /// Largest first; for times, newest first.
    Descending,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// At most [`Query::limit`] items.
    pub items: Vec<Item>,
    /// Where to go on; `None` at the end. The page behind it may turn out empty.
    pub next: Option<String>,
}

/// One part of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates the item, or replaces what has its key.
    Put(Item),
    /// Removes the item, if there is one.
    Delete(Key),
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine is not there, is overloaded, or refused.
    #[error("{operation} failed")]
    Engine {
        /// What was tried: "query", "open"…
        operation: &'static str,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An item does not look as it was written.
    #[error("the item {key:?} cannot be read: {reason}")]
    Corrupt {
        /// Where it is.
        key: Key,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no engine to ask.
    #[error("this build has no store: SQLite needs the cargo feature `local`")]
    NotInThisBuild,
}

impl StoreError {
    /// Which kind it is, in a word, for `error.type`.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::Engine { .. } => "engine",
            StoreError::Corrupt { .. } => "corrupt",
            StoreError::NotInThisBuild => "not_in_this_build",
        }
    }
}
