//! Reads pages of partitions.

use jiff::Timestamp;

use super::{Index, Item, Order, Page, Query, StoreError, Table};
use crate::domain::{PageOf, PageRequest};

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
) -> Result<PageOf<Item>, StoreError> {
    let query = Query { index, ..query(partition, Order::Descending, page, now) };
    let read = table.query(&[query]).await?.pop();
    let (entries, next) = read.map(|page| (page.items, page.next)).unwrap_or_default();
    Ok(PageOf { entries, next })
}

/// The newest items of several partitions of `index`, or of the table, each once; they must be
/// sorted by time. The page ends where the first partition that was not read to its end stopped,
/// because items behind that are unknown.
pub(super) fn merge(pages: Vec<Page>, index: Option<Index>, limit: usize) -> PageOf<Item> {
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
    PageOf { entries, next }
}
