//! The deployed adapter: one DynamoDB table with one index.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `pk`, `sk` | string | the table's key: partition and sort key |
//! | `listing_pk`, `listing_sk` | string | the key of the index `listing`, which holds the keys and `ttl` |
//! | `ttl` | number | the time-to-live attribute: Unix seconds, absent on what never expires |
//!
//! The table is `CruddurTable` in template.yaml; [`DynamoDbTable::create`] makes the same one for
//! local endpoints. All names go in as placeholders, since several are reserved words.
//! Cursors are sort keys, not DynamoDB's own: no client's text ever becomes an `ExclusiveStartKey`.

mod batch;
mod errors;
mod http_client;
mod range;
#[cfg(feature = "local")]
mod schema;
mod transaction;
mod trust;
mod usage;
mod values;

use std::{path::Path, time::Duration};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use forward_proxy::ProxyRules;
use futures_util::{
    future::{BoxFuture, FutureExt, ready},
    stream::{self, StreamExt, TryStreamExt},
};
use jiff::Timestamp;
use tracing::Instrument;
use uuid::Uuid;

use super::{call_span::Call, retry};
use crate::{
    store::{
        Consistency, Item, Key, Page, Query, StoreError, Table, Write, table::check_transaction,
    },
    telemetry::{TracedCalls, describing_last_attempt},
};
use http_client::http_client;
use range::Range;
use usage::Usage;
use values::LISTING;

/// Limits for connecting and for one attempt. DynamoDB answers in milliseconds. Both end before the
/// time for retries does, so an attempt without an answer is repeated.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most requests of one query when its items have expired. Bounds the cost of a page while TTL
/// lags; the cursor continues from there.
const MAX_READS_PER_QUERY: u32 = 5;

/// Most concurrent requests of one call. Each takes a connection, which costs more than a query,
/// and a page of the home feed reads up to 100 threads.
const MAX_AT_ONCE: usize = 12;

const fn call(name: &'static str, operation: &'static str) -> Call {
    Call { system: "aws.dynamodb", name, operation }
}

const QUERY: Call = call("DynamoDB.Query", "Query");
const GET: Call = call("DynamoDB.BatchGetItem", "BatchGetItem");
const PUT: Call = call("DynamoDB.BatchWriteItem", "BatchWriteItem");
const WRITE: Call = call("DynamoDB.TransactWriteItems", "TransactWriteItems");

/// A [`Table`] in DynamoDB.
pub struct DynamoDbTable {
    client: Client,
    name: String,
}

impl DynamoDbTable {
    /// Connects to nothing yet.
    ///
    /// `client` must not retry, because `retry` does: see [`DynamoDbTable::from_env`].
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// The table `name` of the account, region and endpoint that the SDK's own variables name
    /// (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_DYNAMODB`…). Connects to nothing yet.
    ///
    /// Put together by hand: the SDK's loader also looks into profiles, single sign-on, web
    /// identities and the instance's metadata, none of which Lambda has, and weighs half a
    /// megabyte. `ca_bundle` is a file of certificates that are accepted beside the system's. Fails if
    /// the table needs a proxy whose URL is invalid.
    pub fn from_env(
        name: impl Into<String>,
        ca_bundle: Option<&Path>,
        proxy: Option<&ProxyRules>,
    ) -> Result<Self, StoreError> {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_set = |name: &str| var(name).map(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = var("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| var("AWS_ENDPOINT_URL"));
        let region = var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION"));
        let http = http_client(ca_bundle, proxy, endpoint.as_deref(), region.as_deref())?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut config = Config::builder();
        config
            .set_region(region.map(Region::new))
            .set_endpoint_url(endpoint)
            .set_use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
            .set_use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"));
        let config = config
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(EnvironmentVariableCredentialsProvider::new())
            .http_client(http)
            .retry_config(RetryConfig::disabled()) // `retry` does that, conflicts included
            .timeout_config(timeouts)
            .interceptor(TracedCalls)
            .build();
        Ok(Self::new(Client::from_conf(config), name))
    }

    /// Makes the table, for endpoints that are not AWS, such as an emulator: on AWS, template.yaml
    /// does. Fails if there is one of that name.
    #[cfg(feature = "local")]
    pub async fn create(&self) -> Result<(), StoreError> {
        let request =
            schema::create_table(&self.client, &self.name).map_err(errors::unbuilt("create"))?;
        request.send().await.map_err(errors::from_sdk("create"))?;
        Ok(())
    }

    /// Reads until the page is full, the partition ends, or [`MAX_READS_PER_QUERY`].
    async fn read_page(&self, query: &Query, usage: &Usage) -> Result<Page, StoreError> {
        let Some(range) = Range::of(query) else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let position = |item: &Item| item.position(query.index).map(str::to_owned);
        let mut items = Vec::new();
        let mut start = None;
        for read in 0..MAX_READS_PER_QUERY {
            let request = range.request(&self.client, query, read).table_name(&self.name);
            let request = request.set_exclusive_start_key(start);
            let output = request.send().await.map_err(errors::from_sdk("query"))?;
            usage.add(output.consumed_capacity.as_slice());
            for attributes in output.items.unwrap_or_default() {
                let item = values::to_item(attributes);
                if item.position(query.index) != query.after.as_deref() {
                    items.push(item);
                }
            }
            if items.len() > query.limit {
                items.truncate(query.limit);
                let next = items.last().and_then(position);
                return Ok(Page { items, next });
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(Page { items, next: None });
            }
        }
        let read_to = start.map(values::to_item);
        let next = read_to.as_ref().and_then(position);
        Ok(Page { items, next })
    }

    async fn write(
        &self,
        writes: &[Write],
        now: Timestamp,
        usage: &Usage,
    ) -> Result<(), StoreError> {
        check_transaction(writes)?;
        // The same bytes for every attempt: one whose answer got lost is not done a second time.
        let token = Uuid::new_v4().to_string();
        let actions = self.actions(writes, now)?;
        retry::while_busy(&usage.retries, || self.write_all(&actions, &token, usage)).await
    }
}

impl Table for DynamoDbTable {
    fn query<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Page>, StoreError>> {
        if queries.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        let span = usage::span(&QUERY, &self.name, queries.len());
        if queries.iter().any(|query| query.index.is_some()) {
            span.record("aws.dynamodb.index_name", LISTING);
        }
        let usage = Usage::default();
        describing_last_attempt(async move {
            let usage = &usage;
            let read_page = |query| async move {
                retry::while_busy(&usage.retries, || self.read_page(query, usage)).await
            };
            let reads: Vec<_> = queries.iter().map(read_page).collect();
            let pages: Result<Vec<Page>, _> =
                stream::iter(reads).buffered(MAX_AT_ONCE).try_collect().await;
            let rows = pages.iter().flatten().map(|page| page.items.len()).sum();
            usage.record(Some(rows), pages)
        })
        .instrument(span)
        .boxed()
    }

    fn get<'a>(
        &'a self,
        keys: &'a [Key],
        consistency: Consistency,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Option<Item>>, StoreError>> {
        if keys.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        let span = usage::span(&GET, &self.name, keys.len());
        let usage = Usage::default();
        describing_last_attempt(async move {
            let items = self.read_items(keys, consistency, now, &usage).await;
            let rows = items.iter().flatten().flatten().count();
            usage.record(Some(rows), items)
        })
        .instrument(span)
        .boxed()
    }

    fn transact_write<'a>(
        &'a self,
        writes: &'a [Write],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if writes.is_empty() {
            return ready(Ok(())).boxed();
        }
        let span = usage::span(&WRITE, &self.name, writes.len());
        let usage = Usage::default();
        describing_last_attempt(async move {
            let done = self.write(writes, now, &usage).await;
            usage.record(None, done)
        })
        .instrument(span)
        .boxed()
    }

    fn put_each<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), StoreError>> {
        if items.is_empty() {
            return ready(Ok(())).boxed();
        }
        let span = usage::span(&PUT, &self.name, items.len());
        let usage = Usage::default();
        async move {
            let done = self.put_items(items, &usage).await;
            usage.record(None, done)
        }
        .instrument(span)
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

    use super::*;
    use crate::{
        config, endpoints::home_activities::ROUTE, telemetry::Telemetry,
        test_support::FakeExtension,
    };

    #[tokio::test]
    async fn what_is_refused_before_it_is_sent_is_an_error_and_what_asks_for_nothing_no_span() {
        let extension = FakeExtension::start("200 OK");
        let endpoint = format!("http://{}", extension.address);
        let config = config::Config::from_vars(|name| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())
        });
        let (telemetry, subscriber) = Telemetry::build(&config, std::io::sink);
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let config = Config::builder().behavior_version(BehaviorVersion::latest()).build();
        let table = DynamoDbTable::new(Client::from_conf(config), "t");
        let now = Timestamp::UNIX_EPOCH;
        let delete =
            || Write::DeleteIfPresent(Key { partition: "p".to_owned(), sort: "a".to_owned() });

        let invocation = async {
            telemetry.identify(&lambda_runtime::Context::default(), &ROUTE, None);
            assert_eq!(table.query(&[]).await.unwrap(), []);
            assert_eq!(table.get(&[], Consistency::Strong, now).await.unwrap(), []);
            table.transact_write(&[], now).await.unwrap();
            table.put_each(&[]).await.unwrap();
            table.transact_write(&[delete(), delete()], now).await.unwrap_err();
        };
        telemetry.around(invocation).await;

        let spans = extension.spans();
        let [refused, _server] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(refused.name, "DynamoDB.TransactWriteItems");
        assert_eq!(refused.status.as_ref().unwrap().code(), StatusCode::Error);
    }
}
