//! What a store call cost, for its span.
//! Attributes by <https://opentelemetry.io/docs/specs/semconv/database/dynamodb/>; `app.store.*` are
//! our own: a call of the port may be several requests.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use aws_sdk_dynamodb::types::ConsumedCapacity;
use opentelemetry::{Array, Value};
use serde_json::json;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::store::{
    StoreError,
    engines::call_span::{self, Call},
};

/// Adds up over the requests of one call.
#[derive(Default)]
pub(super) struct Usage {
    /// How often something was tried again.
    pub(super) retries: AtomicU32,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    requests: i64,
    capacity_units: f64,
    table: Option<String>,
}

/// A list, as the conventions have it even where there is one.
fn texts(text: String) -> Value {
    Value::Array(Array::String(vec![text.into()]))
}

impl Usage {
    /// Counts a request that was answered.
    pub(super) fn add(&self, consumed: &[ConsumedCapacity]) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.requests += 1;
        if let Some(table) = consumed.first().and_then(ConsumedCapacity::table_name) {
            answers.table = Some(table.to_owned());
        }
        answers.capacity_units +=
            consumed.iter().filter_map(ConsumedCapacity::capacity_units).sum::<f64>();
    }

    /// Writes it to the current span, which is the call's, and passes `outcome` on.
    pub(super) fn record<T>(
        &self,
        rows: Option<usize>,
        outcome: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let span = Span::current();
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (table, units) = (&answers.table, answers.capacity_units);
        let consumed = json!({"TableName": table, "CapacityUnits": units});
        span.set_attribute("aws.dynamodb.consumed_capacity", texts(consumed.to_string()));
        span.record("app.store.requests", answers.requests);
        span.record("app.store.consumed_capacity", answers.capacity_units);
        // As i64: what is unsigned would become a text.
        span.record("app.store.retries", i64::from(self.retries.load(Ordering::Relaxed)));
        call_span::record(&span, rows, &outcome);
        outcome
    }
}

/// The span of a call of the port, with the attributes of AWS calls; `size` is the number of keys,
/// queries or writes.
pub(super) fn span(call: &Call, table: &str, size: usize) -> Span {
    let span = call_span::open(call, table, size);
    span.set_attribute("rpc.system", "aws-api");
    span.set_attribute("rpc.service", "DynamoDB");
    span.set_attribute("rpc.method", call.operation);
    span.set_attribute("aws.dynamodb.table_names", texts(table.to_owned()));
    span
}
