//! The local adapter: one SQLite file, shared by all function processes of a machine.
//!
//! Write-ahead logging lets readers and a writer work at once; who finds the file locked waits.
//! Calls block the thread, which is free to wait: a sandbox serves one invocation at a time.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::{
    Connection, ErrorCode, Row, Transaction, TransactionBehavior, named_params, params, types::Type,
};
use tracing::{Span, field::Empty, info_span};

use super::{Index, Item, Key, Order, Page, Query, StoreError, Table, Write};

/// How long to wait for a lock. Our choice: below every function's timeout.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Sorts behind every key.
const LAST: &str = "\u{10FFFF}";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS items (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        home_partition TEXT,
        home_sort TEXT,
        expires_at INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        PRIMARY KEY (partition, sort)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS items_home ON items (home_partition, home_sort)
        WHERE home_partition IS NOT NULL;
    CREATE INDEX IF NOT EXISTS items_expiry ON items (expires_at);
";

/// A [`Table`] in an SQLite file.
pub struct SqliteTable {
    connection: Mutex<Connection>,
}

impl SqliteTable {
    /// Opens the file; makes it, its directory and its tables if they are missing.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed("open"))?;
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
                    let connection = Mutex::new(prepared.map_err(failed("open"))?);
                    return Ok(Self { connection });
                }
            }
        }
    }

    fn run_queries(&self, queries: &[Query]) -> Result<Vec<Page>, StoreError> {
        // A panic leaves nothing half done in the connection: a transaction rolls back when dropped.
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = queries.iter().map(|query| run_query(&connection, query));
        pages.collect::<Result<_, _>>().map_err(failed("query"))
    }

    fn run_writes(&self, writes: &[Write]) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Immediate: a transaction that begins by reading cannot wait for the lock later.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM items WHERE expires_at <= unixepoch()", [])?;
        for write in writes {
            match write {
                Write::Put(item) => put(&transaction, item)?,
                Write::Delete(key) => delete(&transaction, key)?,
            }
        }
        transaction.commit()
    }
}

impl Table for SqliteTable {
    fn query<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Page>, StoreError>> {
        async move {
            let span = span("SQLite.Query", "SELECT", queries.len());
            let _entered = span.enter(); // nothing below waits
            let pages = self.run_queries(queries);
            match &pages {
                Ok(pages) => {
                    let rows: usize = pages.iter().map(|page| page.items.len()).sum();
                    span.record("db.response.returned_rows", rows as i64);
                }
                Err(error) => mark_failed(&span, error),
            }
            pages
        }
        .boxed()
    }

    fn transact_write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let span = span("SQLite.TransactWrite", "BATCH", writes.len());
            let _entered = span.enter(); // nothing below waits
            let done = self.run_writes(writes).map_err(failed("transact_write"));
            if let Err(error) = &done {
                mark_failed(&span, error);
            }
            done
        }
        .boxed()
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
    let (partition, sort) = match query.index {
        None => ("partition", "sort"),
        Some(Index::Home) => ("home_partition", "home_sort"),
    };
    let (behind, direction, start) = match query.order {
        Order::Ascending => (">", "ASC", ""),
        Order::Descending => ("<", "DESC", LAST),
    };
    let sql = format!(
        "SELECT partition, sort, home_partition, home_sort, expires_at, attributes FROM items
         WHERE {partition} = :partition AND expires_at > :now
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
            // One more than asked for tells whether there is a next page.
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1),
        },
        read_item,
    )?;
    let mut items = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    let position = |item: &Item| match query.index {
        None => Some(item.key.sort.clone()),
        Some(Index::Home) => item.home.as_ref().map(|key| key.sort.clone()),
    };
    let next = items.last().filter(|_| more).and_then(position);
    Ok(Page { items, next })
}

fn read_item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let home: Option<(String, String)> = row.get::<_, Option<_>>(2)?.zip(row.get(3)?);
    let attributes = serde_json::from_str(row.get_ref(5)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, Type::Text, error.into()))?;
    Ok(Item {
        key: Key { partition: row.get(0)?, sort: row.get(1)? },
        home: home.map(|(partition, sort)| Key { partition, sort }),
        expires_at_seconds: row.get(4)?,
        attributes,
    })
}

fn put(transaction: &Transaction<'_>, item: &Item) -> rusqlite::Result<()> {
    let Item { key, home, expires_at_seconds, attributes } = item;
    let attributes = serde_json::to_string(attributes)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO items VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            key.partition,
            key.sort,
            home.as_ref().map(|home| &home.partition),
            home.as_ref().map(|home| &home.sort),
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

/// A span by the conventions for databases.
/// <https://opentelemetry.io/docs/specs/semconv/database/database-spans/>
fn span(name: &'static str, operation: &'static str, size: usize) -> Span {
    let span = info_span!(
        "sqlite",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        db.system.name = "sqlite",
        db.operation.name = operation,
        db.operation.batch.size = Empty,
        db.collection.name = "items",
        db.response.returned_rows = Empty,
    );
    if size > 1 {
        span.record("db.operation.batch.size", size as i64); // one is no batch, by the conventions
    }
    span
}

fn mark_failed(span: &Span, error: &StoreError) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.kind());
}

fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> StoreError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| StoreError::Engine { operation, source: source.into() }
}

#[cfg(test)]
mod tests;
