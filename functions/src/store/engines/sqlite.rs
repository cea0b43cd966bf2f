//! The local adapter: one SQLite file, shared by all function processes of a machine.
//!
//! Write-ahead logging lets readers and a writer work at once; who finds the file locked waits.
//! Calls block the thread, which is free to wait: a sandbox serves one invocation at a time.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, named_params,
    params,
};
use serde_json::{Map, Value};

use super::call_span::{self, Call};
use crate::store::{
    Consistency, Count, Erase, Index, Item, Key, Order, Page, Query, StoreError, Table, Update,
    Write, table::check_transaction,
};

/// Longest wait for a lock, below every function's timeout.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Sorts behind every key.
const LAST: &str = "\u{10FFFF}";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS items (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        listing_partition TEXT,
        listing_sort TEXT,
        expires_at INTEGER,
        attributes TEXT NOT NULL,
        PRIMARY KEY (partition, sort)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS items_listing ON items (listing_partition, listing_sort)
        WHERE listing_partition IS NOT NULL;
    CREATE INDEX IF NOT EXISTS items_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
";

const COLUMNS: &str = "partition, sort, listing_partition, listing_sort, expires_at, attributes";

/// Holds for what has not expired by `:now`.
const ALIVE: &str = "expires_at IS NULL OR expires_at > :now";

const fn call(name: &'static str, operation: &'static str) -> Call {
    Call { system: "sqlite", name, operation }
}

const QUERY: Call = call("SQLite.Query", "SELECT");
const GET: Call = call("SQLite.Get", "SELECT");
const WRITE: Call = call("SQLite.TransactWrite", "BATCH");
const PUT: Call = call("SQLite.PutEach", "BATCH");

/// A [`Table`] in an SQLite file.
pub struct SqliteTable {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl SqliteTable {
    /// Opens the file; makes it, its directory and its tables if they are missing.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| StoreError::File {
                path: path.to_owned(),
                reason: format!("its directory cannot be made ({error})"),
            })?;
        }
        let started = Instant::now();
        loop {
            let prepared = Connection::open(path).and_then(prepare);
            match prepared {
                // Two processes that switch a new file to a write-ahead log at the same moment: the
                // one that comes second is turned away at once, without waiting for the lock.
                Err(error) if is_busy(&error) && started.elapsed() < BUSY_TIMEOUT => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                prepared => {
                    let connection = Mutex::new(prepared.map_err(failed(path, "open"))?);
                    return Ok(Self { connection, path: path.to_owned() });
                }
            }
        }
    }

    fn run_queries(&self, queries: &[Query]) -> Result<Vec<Page>, StoreError> {
        // A panic leaves nothing half done in the connection: a transaction rolls back when
        // dropped.
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = queries.iter().map(|query| run_query(&connection, query));
        pages.collect::<Result<_, _>>().map_err(failed(&self.path, "query"))
    }

    fn run_gets(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Item>>, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let items = keys.iter().map(|key| find(&connection, key, now));
        items.collect::<Result<_, _>>().map_err(failed(&self.path, "get"))
    }

    fn run_puts(&self, items: &[Item]) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(&self.path, "put_each"))?;
        let puts: rusqlite::Result<()> = items.iter().try_for_each(|item| put(&transaction, item));
        puts.and_then(|()| transaction.commit()).map_err(failed(&self.path, "put_each"))
    }

    fn run_writes(&self, writes: &[Write], now: Timestamp) -> Result<(), StoreError> {
        check_transaction(writes)?;
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Immediate: a transaction that begins by reading cannot wait for the lock later.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(&self.path, "transact_write"))?;
        let unmet =
            write_all(&transaction, writes, now).map_err(failed(&self.path, "transact_write"))?;
        match unmet.is_empty() {
            true => transaction.commit().map_err(failed(&self.path, "transact_write")),
            false => Err(StoreError::ConditionsFailed { failed: unmet }), // rolls back when dropped
        }
    }
}

impl Table for SqliteTable {
    fn query<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Page>, StoreError>> {
        async move {
            let rows = |pages: &Vec<Page>| Some(pages.iter().map(|page| page.items.len()).sum());
            traced(&QUERY, queries.len(), rows, || self.run_queries(queries))
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        keys: &'a [Key],
        _: Consistency,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Option<Item>>, StoreError>> {
        async move {
            let rows = |items: &Vec<Option<Item>>| Some(items.iter().flatten().count());
            traced(&GET, keys.len(), rows, || self.run_gets(keys, now))
        }
        .boxed()
    }

    fn transact_write<'a>(
        &'a self,
        writes: &'a [Write],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { traced(&WRITE, writes.len(), |()| None, || self.run_writes(writes, now)) }
            .boxed()
    }

    fn put_each<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { traced(&PUT, items.len(), |()| None, || self.run_puts(items)) }.boxed()
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn prepare(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With a write-ahead log, this loses no committed write when a process dies.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn run_query(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let (partition, sort, attributes) = match query.index {
        None => ("partition", "sort", "attributes"),
        Some(Index::Listing) => ("listing_partition", "listing_sort", "'{}'"),
    };
    let (behind, direction, start) = match query.order {
        Order::Ascending => (">", "ASC", ""),
        Order::Descending => ("<", "DESC", LAST),
    };
    let sql = format!(
        "SELECT partition, sort, listing_partition, listing_sort, expires_at, {attributes}
         FROM items WHERE {partition} = :partition AND ({ALIVE})
           AND {sort} BETWEEN :first AND :last AND {sort} {behind} :after
         ORDER BY {sort} {direction} LIMIT :limit"
    );
    let between = query.between.as_ref();
    let (first, last) = between.map_or(("", LAST), |(first, last)| (first, last));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":partition": query.partition, ":now": query.now.as_second(),
            ":first": first, ":last": last, ":after": query.after.as_deref().unwrap_or(start),
            // One row more than the limit shows whether there is a next page.
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1),
        },
        read_item,
    )?;
    let mut items = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    let last = items.last().filter(|_| more);
    let next = last.and_then(|item| item.position(query.index)).map(str::to_owned);
    Ok(Page { items, next })
}

fn read_item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let listing: Option<(String, String)> = row.get::<_, Option<_>>(2)?.zip(row.get(3)?);
    // Damaged attributes are read as empty. The reader of the item then reports it as corrupt, and
    // only that item is left out of a list.
    let attributes = row.get_ref(5)?.as_str().ok().and_then(|text| serde_json::from_str(text).ok());
    Ok(Item {
        key: Key { partition: row.get(0)?, sort: row.get(1)? },
        listing: listing.map(|(partition, sort)| Key { partition, sort }),
        expires_at_seconds: row.get(4)?,
        attributes: attributes.unwrap_or_default(),
    })
}

/// Writes what it can, and gives the positions of the writes whose conditions do not hold.
fn write_all(
    transaction: &Transaction<'_>,
    writes: &[Write],
    now: Timestamp,
) -> rusqlite::Result<Vec<usize>> {
    transaction.execute("DELETE FROM items WHERE expires_at <= ?1", [now.as_second()])?;
    let mut unmet = Vec::new();
    for (position, write) in writes.iter().enumerate() {
        // An expired item counts as absent, so most conditions are whether the item is found.
        let found = find(transaction, write.key(), now)?;
        let is_met = found.as_ref().is_none_or(|item| is_met(item, write));
        match (write, found) {
            _ if !is_met => unmet.push(position),
            (Write::Upsert(item), _) | (Write::Insert(item), None) => put(transaction, item)?,
            (Write::Update(update), Some(item)) => put(transaction, &updated(item, update))?,
            (Write::Erase(erase), Some(item)) => put(transaction, &erased(item, erase))?,
            (Write::Count(count), found) => put(transaction, &counted(found, count))?,
            (Write::DeleteIfPresent(key), _) | (Write::DeleteExisting(key), Some(_)) => {
                delete(transaction, key)?
            }
            (Write::Insert(_), Some(_)) => unmet.push(position),
            (Write::Update(_) | Write::Erase(_) | Write::DeleteExisting(_), None) => {
                unmet.push(position)
            }
        }
    }
    Ok(unmet)
}

/// Whether an item that exists may be written. In the index an item moves on, never back.
fn is_met(item: &Item, write: &Write) -> bool {
    match write {
        Write::Update(Update { listing: Some(place), .. }) => {
            item.listing.as_ref().is_none_or(|before| before.sort < place.sort)
        }
        Write::Erase(Erase { only_if: (name, value), .. }) => {
            item.attributes.get(*name) == Some(value)
        }
        Write::Count(Count { below: Some((name, bound)), .. }) => number(item, name) < *bound,
        _ => true,
    }
}

fn find(connection: &Connection, key: &Key, now: Timestamp) -> rusqlite::Result<Option<Item>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM items
         WHERE partition = :partition AND sort = :sort AND ({ALIVE})"
    );
    let parameters = named_params! {
        ":partition": key.partition, ":sort": key.sort, ":now": now.as_second(),
    };
    connection.prepare_cached(&sql)?.query_row(parameters, read_item).optional()
}

fn number(item: &Item, name: &str) -> i64 {
    item.attributes.get(name).and_then(Value::as_i64).unwrap_or(0)
}

fn add(item: &mut Item, counters: &[(&'static str, i64)]) {
    for (name, difference) in counters {
        let sum = number(item, name).saturating_add(*difference);
        item.attributes.insert((*name).to_owned(), sum.into());
    }
}

fn counted(found: Option<Item>, count: &Count) -> Item {
    let Count { key, add: counters, expires_at_seconds, .. } = count;
    let (key, expires_at_seconds) = (key.clone(), *expires_at_seconds);
    let new = Item { key, listing: None, expires_at_seconds, attributes: Map::new() };
    let mut item = found.unwrap_or(new);
    add(&mut item, counters);
    Item { expires_at_seconds, ..item }
}

fn updated(mut item: Item, update: &Update) -> Item {
    add(&mut item, &update.add);
    item.attributes.extend(update.set.clone());
    Item { listing: update.listing.clone().or(item.listing), ..item }
}

fn erased(mut item: Item, erase: &Erase) -> Item {
    item.attributes.retain(|name, _| !erase.remove.contains(&name.as_str()));
    item.attributes.extend(erase.set.clone());
    Item { listing: None, ..item }
}

fn put(transaction: &Transaction<'_>, item: &Item) -> rusqlite::Result<()> {
    let Item { key, listing, expires_at_seconds, attributes } = item;
    let attributes = serde_json::to_string(attributes)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO items VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            key.partition,
            key.sort,
            listing.as_ref().map(|listing| &listing.partition),
            listing.as_ref().map(|listing| &listing.sort),
            expires_at_seconds,
            attributes,
        ])?;
    Ok(())
}

fn delete(transaction: &Transaction<'_>, key: &Key) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM items WHERE partition = ?1 AND sort = ?2")?
        .execute([&key.partition, &key.sort])?;
    Ok(())
}

/// Runs `call`, about `size` things, in a span that says how many rows it gave. Nothing in it
/// waits.
fn traced<T>(
    kind: &Call,
    size: usize,
    rows: impl FnOnce(&T) -> Option<usize>,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if size == 0 {
        return call(); // nothing is asked
    }
    let span = call_span::open(kind, "items", size);
    let done = span.in_scope(call);
    call_span::record(&span, done.as_ref().ok().and_then(rows), &done);
    done
}

fn failed(path: &Path, operation: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => {
            StoreError::Busy { operation, code: None, source: error.into() }
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::DiskFull
            | ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure,
        ) => StoreError::File { path: path.to_owned(), reason: reason(&error) },
        _ => StoreError::Engine { operation, code: None, source: error.into() },
    }
}

/// SQLite's own words, without its numbers.
fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
