//! Reads pages of partitions.

use jiff::Timestamp;
use tracing::{Span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Consistency, Item, Key, Order, Page, Query, StoreError, Table, codec};
use crate::domain::{PageOf, PageRequest};

/// The question for a page of one partition of the table.
pub(super) fn query(partition: String, order: Order, page: &PageRequest, now: Timestamp) -> Query {
    let PageRequest { limit, after } = page.clone();
    let consistency = Consistency::Eventual;
    Query { index: None, partition, between: None, order, consistency, after, limit, now }
}

/// A page of the newest items of several partitions, each item once. They must be sorted by time,
/// and all be of one index or of the table.
pub(super) async fn newest(
    table: &dyn Table,
    queries: &[Query],
) -> Result<PageOf<Item>, StoreError> {
    let (Some(index), Some(limit)) =
        (queries.first().map(|query| query.index), queries.first().map(|query| query.limit))
    else {
        return Ok(PageOf { entries: Vec::new(), next: None });
    };
    let position = |item: &Item| item.position(index).map(str::to_owned);
    Ok(merge(table.query(queries).await?, position, limit))
}

/// The page ends where the first partition that was not read to its end stopped, because items
/// behind that are unknown.
pub(super) fn merge(
    pages: Vec<Page>,
    position: impl Fn(&Item) -> Option<String>,
    limit: usize,
) -> PageOf<Item> {
    let read_to = pages.iter().filter_map(|page| page.next.clone()).max();
    let items = pages.into_iter().flat_map(|page| page.items);
    let mut entries: Vec<Item> = items.filter(|item| position(item) >= read_to).collect();
    entries.sort_by_cached_key(|item| std::cmp::Reverse(position(item)));
    entries.dedup_by_key(|item| position(item));
    let next = match entries.len() > limit {
        true => entries.get(limit - 1).and_then(&position),
        false => read_to,
    };
    entries.truncate(limit);
    PageOf { entries, next }
}

/// Reads the items to which a page points, in its order. Pointers to nothing are left out: an
/// activity that was not published, one that was deleted, or one that expired first.
pub(super) async fn pointed_to(
    table: &dyn Table,
    keys: &[Key],
    now: Timestamp,
) -> Result<Vec<Item>, StoreError> {
    let items = table.get(keys, Consistency::Eventual, now).await?.into_iter().flatten();
    Ok(items.filter(|item| !codec::is_deleted(item)).collect())
}

/// The entries of a list. Items that cannot be read are left out, counted on the current span, and
/// logged once with the first error.
pub(super) fn readable<T>(
    items: Vec<Item>,
    mut read: impl FnMut(Item) -> Result<T, StoreError>,
) -> Vec<T> {
    let total = items.len();
    let mut first_error = None;
    let keep = |item| read(item).map_err(|error| first_error.get_or_insert(error)).ok();
    let entries: Vec<T> = items.into_iter().filter_map(keep).collect();
    if let Some(error) = first_error {
        let unreadable = total - entries.len();
        Span::current().set_attribute("app.store.unreadable", unreadable as i64);
        warn!(unreadable, %error, "Left {unreadable} unreadable items out of a list");
    }
    entries
}
