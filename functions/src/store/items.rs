//! Items as typed values, for the access patterns.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Index, Item, Key, Order, Page, Query, StoreError, Table, Write};

/// Which part of a list to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Most entries of the page.
    pub limit: usize,
    /// Where the page before ended: [`Listed::next`]; `None` is the start.
    pub after: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The entries, at most [`PageRequest::limit`].
    pub entries: Vec<T>,
    /// Where to go on; `None` at the end. What comes behind may turn out to be nothing.
    pub next: Option<String>,
}

impl<T> Listed<T> {
    /// The same part, with something else for each entry.
    pub(super) fn try_map<U>(
        self,
        read: impl FnMut(T) -> Result<U, StoreError>,
    ) -> Result<Listed<U>, StoreError> {
        let entries = self.entries.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Listed { entries, next: self.next })
    }
}

/// The question for a page of one partition.
pub(super) fn query(partition: String, order: Order, page: &PageRequest, now: Timestamp) -> Query {
    let PageRequest { limit, after } = page.clone();
    Query { index: None, partition, between: None, order, after, limit, now }
}

/// A page of one partition, newest first.
pub(super) async fn newest(
    table: &dyn Table,
    index: Option<Index>,
    partition: String,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Item>, StoreError> {
    let query = Query { index, ..query(partition, Order::Descending, page, now) };
    let read = table.query(&[query]).await?.pop();
    let (entries, next) = read.map(|page| (page.items, page.next)).unwrap_or_default();
    Ok(Listed { entries, next })
}

/// The newest items of several partitions of `index`, or of the table, each once; they must be sorted
/// by time. Where a partition was not read to its end, nothing is known of what lies behind, so the
/// page ends there for all of them.
pub(super) fn merge(pages: Vec<Page>, index: Option<Index>, limit: usize) -> Listed<Item> {
    let position = |item: &Item| item.position(index).map(str::to_owned);
    let read_to = pages.iter().filter_map(|page| page.next.clone()).max();
    let items = pages.into_iter().flat_map(|page| page.items);
    let mut entries: Vec<Item> = items.filter(|item| position(item) >= read_to).collect();
    entries.sort_by_cached_key(|item| std::cmp::Reverse(position(item)));
    entries.dedup_by_key(|item| position(item));
    let next = match entries.len() > limit {
        true => entries.get(limit - 1).and_then(position),
        false => read_to,
    };
    entries.truncate(limit);
    Listed { entries, next }
}

/// An item outside of the index, with the fields of `attributes`.
pub(super) fn item(
    key: Key,
    expires_at: Option<Timestamp>,
    attributes: &impl Serialize,
) -> Result<Item, StoreError> {
    // Cut to the second, so an item is hidden up to a second early and never a moment late.
    let expires_at_seconds = expires_at.map(Timestamp::as_second);
    match serde_json::to_value(attributes) {
        Ok(Value::Object(attributes)) => {
            Ok(Item { key, listing: None, expires_at_seconds, attributes })
        }
        Ok(other) => Err(corrupt(&key, format!("attributes became {other}"))),
        Err(error) => Err(corrupt(&key, error)),
    }
}

/// An item that says all by its key.
pub(super) fn bare(key: Key, expires_at: Option<Timestamp>) -> Item {
    let expires_at_seconds = expires_at.map(Timestamp::as_second);
    Item { key, listing: None, expires_at_seconds, attributes: Map::new() }
}

/// The fields of an item.
pub(super) fn attributes<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    serde_json::from_value(Value::Object(item.attributes)).map_err(|e| corrupt(&item.key, e))
}

/// What the key says, by `parse`.
pub(super) fn parsed_key<T>(
    item: &Item,
    parse: impl FnOnce(&Key) -> Option<T>,
) -> Result<T, StoreError> {
    parse(&item.key).ok_or_else(|| corrupt(&item.key, "the key of something else"))
}

pub(super) fn corrupt(key: &Key, reason: impl ToString) -> StoreError {
    StoreError::Corrupt { key: key.clone(), reason: reason.to_string() }
}

/// Does the writes of a request together with the note that it has been answered, if there is one.
///
/// Fails with [`StoreError::AnsweredBefore`] if somebody else did so in the meantime; other
/// conditions are reported by their positions in `writes`.
pub(super) async fn write_once(
    table: &dyn Table,
    mut writes: Vec<Write>,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let position = writes.len();
    writes.extend(answered);
    match table.transact_write(&writes, now).await {
        Err(error) if error.is_condition_of(position) => Err(StoreError::AnsweredBefore),
        done => done,
    }
}
