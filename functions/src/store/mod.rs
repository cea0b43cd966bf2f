//! Where cruds are kept: access patterns written once, over a port of a few operations.
//!
//! [`activities`] knows what the endpoints ask for, [`keys`] how keys look, [`Table`] what an
//! engine must be able to do. An adapter knows one engine and nothing of cruds: [`sqlite`] is the
//! local one, compiled in by the cargo feature `local`.

pub mod activities;
pub mod keys;
#[cfg(feature = "local")]
pub mod sqlite;
mod table;

use crate::config::Config;
pub use table::{Index, Item, Key, MAX_WRITES, Order, Page, Query, StoreError, Table, Write};

/// Opens the store that this build has.
#[cfg(feature = "local")]
pub async fn open(config: &Config) -> Result<Box<dyn Table>, StoreError> {
    Ok(Box::new(sqlite::SqliteTable::open(&config.sqlite_path)?))
}

/// Fails: without the feature `local` this build has no engine.
#[cfg(not(feature = "local"))]
pub async fn open(_config: &Config) -> Result<Box<dyn Table>, StoreError> {
    Err(StoreError::NotInThisBuild)
}
