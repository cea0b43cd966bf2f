//! A store under test: a new file, or a new table of a DynamoDB endpoint.
//!
//! The endpoint is that of `DYNAMODB_TEST_ENDPOINT`, else moto's. Tables are not removed: moto
//! forgets them, and elsewhere their names begin with `cruddur-test-`.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::TableStatus;
use cruddur::store::Table;
use cruddur::store::engines::dynamodb::DynamoDbTable;
use cruddur::store::engines::sqlite::SqliteTable;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::binaries::binaries;
use crate::moto;
use crate::proxy::Proxy;
use crate::record::PATIENCE;
use crate::sandbox::environment::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN};

/// The limit of one attempt that functions have.
const AS_FUNCTIONS: Duration = Duration::from_secs(2);

/// See the module's text. Dropping it removes the file.
pub struct Store {
    place: Place,
    table: Box<dyn Table>,
}

enum Place {
    Sqlite(TempDir),
    /// `attempt` is the limit of one attempt.
    DynamoDb {
        endpoint: String,
        name: String,
        attempt: Duration,
    },
}

impl Store {
    /// In a file.
    pub async fn sqlite() -> Store {
        let directory = tempfile::Builder::new().prefix("cruddur-store-").tempdir();
        Store::at(Place::Sqlite(directory.expect("a temporary directory")))
    }

    /// In a table.
    pub async fn dynamodb() -> Store {
        let (endpoint, name) = (endpoint(), moto::unique("cruddur-test"));
        create(&endpoint, &name).await;
        Store::at(Place::DynamoDb { endpoint, name, attempt: AS_FUNCTIONS })
    }

    /// In a table behind a proxy; making it is not in the proxy's record.
    pub async fn behind_proxy() -> (Store, Proxy) {
        let (_, behind, proxy) = Store::twice(AS_FUNCTIONS).await;
        (behind, proxy)
    }

    /// A table twice: as it is, and behind a proxy.
    pub async fn with_and_without_proxy() -> (Store, Store, Proxy) {
        // An emulator takes seconds for a query of a large table on a busy machine.
        Store::twice(Duration::from_secs(60)).await
    }

    async fn twice(attempt: Duration) -> (Store, Store, Proxy) {
        let (endpoint, name) = (endpoint(), moto::unique("cruddur-test"));
        create(&endpoint, &name).await;
        let proxy = Proxy::start(&endpoint).await;
        let behind = Place::DynamoDb { endpoint: proxy.url(), name: name.clone(), attempt };
        (Store::at(Place::DynamoDb { endpoint, name, attempt }), Store::at(behind), proxy)
    }

    fn at(place: Place) -> Store {
        let table = place.open();
        Store { place, table }
    }

    /// The port to it.
    pub fn table(&self) -> &dyn Table {
        self.table.as_ref()
    }

    /// Another connection to the same store, as another process would have.
    pub fn connect(&self) -> Box<dyn Table> {
        self.place.open()
    }

    /// The variables that lead a function there.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match &self.place {
            Place::Sqlite(directory) => {
                vec![("CRUDDUR_SQLITE", file(directory).display().to_string())]
            }
            Place::DynamoDb { endpoint, name, .. } => vec![
                ("CRUDDUR_TABLE", name.clone()),
                ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.clone()),
            ],
        }
    }

    /// Writes the demo data.
    pub fn seed(&self) {
        binaries().seed(&self.variables());
    }

    /// Everything in it, in an order of its own: two dumps are equal if nothing was written between.
    pub async fn dump(&self) -> Vec<String> {
        let mut items = match &self.place {
            Place::Sqlite(directory) => dump_file(directory),
            Place::DynamoDb { endpoint, name, attempt } => {
                dump_table(&client(endpoint, *attempt), name).await
            }
        };
        items.sort();
        items
    }
}

impl Place {
    fn open(&self) -> Box<dyn Table> {
        match self {
            Place::Sqlite(directory) => {
                Box::new(SqliteTable::open(&file(directory)).expect("a new file opens"))
            }
            Place::DynamoDb { endpoint, name, attempt } => {
                Box::new(DynamoDbTable::new(client(endpoint, *attempt), name))
            }
        }
    }
}

/// Asks until the answer fits, at most [`PATIENCE`]; gives the last answer. An index may lag behind
/// what has been written, so its readers ask like this.
pub async fn eventually<T, F>(ask: impl Fn() -> F, fits: impl Fn(&T) -> bool) -> T
where
    F: Future<Output = T>,
{
    let asking = async {
        while !fits(&ask().await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(PATIENCE, asking).await;
    ask().await
}

/// The DynamoDB endpoint that tests use.
pub fn endpoint() -> String {
    std::env::var("DYNAMODB_TEST_ENDPOINT").unwrap_or_else(|_| moto::url().to_owned())
}

/// A client as functions have it, without the SDK's own retries.
fn client(endpoint: &str, attempt: Duration) -> Client {
    let credentials = Credentials::new(
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        Some(SESSION_TOKEN.to_owned()),
        None,
        "test",
    );
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(attempt)
        .build();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}

async fn create(endpoint: &str, name: &str) {
    // moto loads a service with its first request, which takes seconds on a busy machine.
    let client = client(endpoint, Duration::from_secs(60));
    DynamoDbTable::new(client.clone(), name).create().await.expect("a new table");
    let status = || async {
        let described = client.describe_table().table_name(name).send().await;
        described.ok().and_then(|described| described.table?.table_status)
    };
    let status = eventually(status, |status| *status == Some(TableStatus::Active)).await;
    assert_eq!(status, Some(TableStatus::Active), "the table {name}");
}

fn file(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("cruddur.sqlite")
}

fn dump_file(directory: &TempDir) -> Vec<String> {
    let connection = rusqlite::Connection::open(file(directory)).expect("the file");
    let mut statement = connection.prepare("SELECT * FROM items").expect("the table of items");
    let columns = statement.column_count();
    let items = statement.query_map([], |row| {
        let values = (0..columns).map(|column| row.get_ref(column).map(|v| format!("{v:?}")));
        Ok(values.collect::<Result<Vec<_>, _>>()?.join(" "))
    });
    items.and_then(Iterator::collect).expect("items")
}

async fn dump_table(client: &Client, name: &str) -> Vec<String> {
    let mut pages = client.scan().table_name(name).into_paginator().send();
    let mut items = Vec::new();
    while let Some(page) = pages.next().await {
        for item in page.expect("a page of the table").items.unwrap_or_default() {
            let sorted = std::collections::BTreeMap::from_iter(item);
            items.push(format!("{sorted:?}"));
        }
    }
    items
}
