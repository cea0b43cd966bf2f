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
pub use table::{
    Index, Item, Key, MAX_WRITES, Order, Page, Query, StoreError, Table, Update, Write,
};

/// Opens the store that this build has.
#[cfg(feature = "local")]
pub async fn open(config: &Config) -> Result<Box<dyn Table>, StoreError> {
    Ok(Box::new(sqlite::SqliteTable::open(&config.sqlite_path)?))
}

/// Fails: without the feature `local` this build has no engine.
#[cfg(not(feature = "local"))]
pub async fn open(_config: &Config) -> Result<Box<dyn Table>, StoreError> {
    Err(StoreError::NotConfigured)
}

#[cfg(test)]
#[cfg(not(feature = "local"))]
mod tests {
    use super::*;
    use crate::api::ApiError;

    #[tokio::test]
    async fn a_build_without_an_engine_says_so_to_the_operator_and_not_to_the_client() {
        let config = Config::from_vars(|_| None);

        let error = ApiError::from(open(&config).await.err().unwrap());

        assert_eq!(error.reply().body(), "[\"generic_500\"]");
        assert!(error.chain().ends_with("SQLite needs the cargo feature `local`"), "{error}");
    }
}
