//! Where activities are kept: access patterns written once, over a port of a few operations.
//!
//! The access patterns know what the endpoints ask for, one file for each kind of thing; [`keys`]
//! knows how keys look, and [`Table`] says what an engine must be able to do. An adapter knows one
//! engine and nothing of activities: [`engines::dynamodb`] is the deployed one, `sqlite` the local
//! one, compiled in by the cargo feature `local`.

mod table; // the port
pub mod keys;
mod pages;
pub mod codec; // items as typed values
pub mod engines;
pub mod idempotency; // done once, however often they come
pub mod threads; // the home feed, one thread, new activities and replies
pub mod feeds; // other lists of activities
pub mod likes;
pub mod quota;
pub mod users;
pub mod messages;

use crate::config::Config;
pub use crate::domain::{PageOf, PageRequest};
pub use table::{
    Consistency, Count, Erase, Index, Item, Key, MAX_WRITES, Order, Page, Query, StoreError, Table,
    Update, Write,
};

/// Opens the store: the table of `CRUDDUR_TABLE`, else the local file where the build has SQLite.
pub fn open(config: &Config) -> Result<Box<dyn Table>, StoreError> {
    if let Some(table) = &config.table_name {
        return Ok(Box::new(engines::dynamodb::DynamoDbTable::from_env(
            table,
            config.ca_bundle.as_deref(),
            config.proxy.as_ref(),
        )?));
    }
    #[cfg(feature = "local")]
    return Ok(Box::new(engines::sqlite::SqliteTable::open(&config.sqlite_path)?));
    #[cfg(not(feature = "local"))]
    Err(StoreError::NotConfigured)
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;

#[cfg(test)]
#[cfg(not(feature = "local"))]
mod deployed_tests {
    use super::*;
    use crate::http::ApiError;

    #[test]
    fn a_function_without_a_store_says_so_to_the_operator_and_not_to_the_client() {
        let config = Config::from_vars(|_| None);

        let error = ApiError::from(open(&config).err().unwrap());

        assert_eq!(error.reply().body(), "[\"generic_500\"]");
        assert!(error.chain().contains("CRUDDUR_TABLE is not set"), "{}", error.chain());
    }
}
