//! The port: the operations of an engine.
//!
//! It has the shape of a DynamoDB table, since that is what must grow: items in partitions, sorted
//! within them, readable by key or by partition only; no scans, no joins. An item may also be
//! placed in an [`Index`], which is another arrangement of the same items.
//!
//! An expired item does not exist for any operation, even while the engine has not deleted it.
//! Hence the argument `now` of each operation.

use std::{collections::HashSet, path::PathBuf};

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

    /// Reads the items with these keys, in their order; `None` for one that does not exist.
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
        consistency: Consistency,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Option<Item>>, StoreError>>;

    /// Does all `writes` or none of them. At most [`MAX_WRITES`], each to another item.
    ///
    /// Fails with [`StoreError::ConditionsFailed`] if an item that must exist does not, or one
    /// exists that must not, or an attribute has another value than it must have.
    fn transact_write<'a>(
        &'a self,
        writes: &'a [Write],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Writes each item by itself, over one with its key if there is one, for half the
    /// price of a transaction. After an error, some of them may be written.
    fn put_each<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Most actions of one transaction.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
pub const MAX_WRITES: usize = 100;

/// The address of an item, unique in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Which partition the item is in.
    pub partition: String,
    /// Where in the partition; items are sorted by the bytes of this.
    pub sort: String,
}

/// Which writes a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// All that ended before.
    Strong,
    /// Perhaps not those of the last second. Costs half.
    Eventual,
}

/// Another arrangement of the items that carry a key for it. It has their keys and expiry only, so
/// a change of other attributes does not write to it. Its reads are [`Consistency::Eventual`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Items that are listed by time and also found by id, or whose time changes.
    Listing,
}

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its address.
    pub key: Key,
    /// Its place in [`Index::Listing`], if it belongs there. Sort keys are unique there too.
    pub listing: Option<Key>,
    /// When it expires, in Unix seconds, the unit of DynamoDB's TTL; `None` means never. From that
    /// second on it does not exist.
    pub expires_at_seconds: Option<i64>,
    /// All other attributes. Numbers are integers; names must not be those of an engine (see
    /// [`super::engines::dynamodb`]).
    pub attributes: Map<String, Value>,
}

impl Item {
    /// Where it stands in its partition, or in `index`; `None` if it is not in there.
    pub fn position(&self, index: Option<Index>) -> Option<&str> {
        match index {
            None => Some(&self.key.sort),
            Some(Index::Listing) => self.listing.as_ref().map(|key| key.sort.as_str()),
        }
    }
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
    /// Which writes it sees.
    pub consistency: Consistency,
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
    /// Where to go on; `None` at the end. The page behind it may turn out empty, and a page may
    /// hold fewer items than there are, even none.
    pub next: Option<String>,
}

/// One part of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Makes the item, or replaces what has its key.
    Upsert(Item),
    /// Makes the item, which must not exist.
    Insert(Item),
    /// Changes an item, which must exist.
    Update(Update),
    /// Takes attributes out of an item, which must exist.
    Erase(Erase),
    /// Raises counters of an item, which is made if it is missing.
    Count(Count),
    /// Removes an item, which must exist.
    DeleteExisting(Key),
    /// Removes the item, if there is one.
    DeleteIfPresent(Key),
}

/// How to change an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Which one.
    pub key: Key,
    /// Counters to raise, or to lower by a negative number. One that is missing counts from 0.
    pub add: Vec<(&'static str, i64)>,
    /// Attributes to replace.
    pub set: Map<String, Value>,
    /// A new place in [`Index::Listing`], if it is to move there. It only moves on: where its sort
    /// key is not smaller than this one, the condition fails as if there were no such item.
    pub listing: Option<Key>,
}

/// How to take attributes out of an item. It leaves [`Index::Listing`] as well.
#[derive(Clone, Debug, PartialEq)]
pub struct Erase {
    /// Which one.
    pub key: Key,
    /// An attribute and the value that it must have.
    pub only_if: (&'static str, Value),
    /// The attributes to remove.
    pub remove: Vec<&'static str>,
    /// Attributes to set instead. Others stay.
    pub set: Map<String, Value>,
}

/// How to count in an item that may be missing. Its key must not be used again after the expiry.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// Which item.
    pub key: Key,
    /// Counters to raise. One that is missing counts from 0.
    pub add: Vec<(&'static str, i64)>,
    /// A counter, and the number that it must be below.
    pub below: Option<(&'static str, i64)>,
    /// When the item expires, in Unix seconds; the same in each write to the key.
    pub expires_at_seconds: Option<i64>,
}

impl Write {
    /// The item that it is about.
    pub fn key(&self) -> &Key {
        match self {
            Write::Upsert(item) | Write::Insert(item) => &item.key,
            Write::Update(update) => &update.key,
            Write::Erase(erase) => &erase.key,
            Write::Count(count) => &count.key,
            Write::DeleteExisting(key) | Write::DeleteIfPresent(key) => key,
        }
    }
}

/// Fails for what no engine is asked to do: more than [`MAX_WRITES`], or two to one item.
pub(super) fn check_transaction(writes: &[Write]) -> Result<(), StoreError> {
    let refused = |reason: String| StoreError::Engine {
        operation: "transact_write",
        code: None,
        source: reason.into(),
    };
    if writes.len() > MAX_WRITES {
        return Err(refused(format!("{} writes do not fit one transaction", writes.len())));
    }
    let mut keys = HashSet::new();
    match writes.iter().map(Write::key).find(|key| !keys.insert(*key)) {
        Some(twice) => Err(refused(format!("two writes to {twice:?} in one transaction"))),
        None => Ok(()),
    }
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written, since an item exists that must not, or does not and must. What that
    /// means, the caller knows.
    #[error("the conditions of the writes {failed:?} do not hold")]
    ConditionsFailed {
        /// Positions of these writes in the transaction, ascending; never empty.
        failed: Vec<usize>,
    },
    /// Nothing was written, since the same request has been answered before.
    #[error("the request has been answered before")]
    AnsweredBefore,
    /// Others wrote to the same items, or there is more to do than the engine can, and it stayed
    /// so.
    #[error("{operation} failed because the store is busy")]
    Busy {
        /// What was tried.
        operation: &'static str,
        /// What the engine calls it, such as `ThrottlingException`.
        code: Option<String>,
        /// What the engine said the last time.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine is not there, or refused.
    #[error("{operation} failed")]
    Engine {
        /// What was tried: "query", "open"…
        operation: &'static str,
        /// What the engine calls it, such as `AccessDeniedException`.
        code: Option<String>,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of a local store cannot be opened, read or written.
    #[error("the database {} cannot be used: {reason}; CRUDDUR_SQLITE names another file", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The engine's or the system's reason.
        reason: String,
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
    #[error("no store: CRUDDUR_TABLE is not set, and SQLite needs the cargo feature `local`")]
    NotConfigured,
}

impl StoreError {
    /// Which kind it is, in a word, for `error.type`.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::ConditionsFailed { .. } => "conditions_failed",
            StoreError::AnsweredBefore => "answered_before",
            StoreError::Busy { .. } => "busy",
            StoreError::Engine { .. } => "engine",
            StoreError::File { .. } => "file",
            StoreError::Corrupt { .. } => "corrupt",
            StoreError::NotConfigured => "not_configured",
        }
    }

    /// What the engine calls it, for `db.response.status_code`.
    pub fn code(&self) -> Option<&str> {
        match self {
            StoreError::Busy { code, .. } | StoreError::Engine { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Whether the write at `position` is one whose condition did not hold.
    pub fn is_condition_of(&self, position: usize) -> bool {
        matches!(self, StoreError::ConditionsFailed { failed } if failed.contains(&position))
    }
}
