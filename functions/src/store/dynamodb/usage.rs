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
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::store::StoreError;

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
        if let Some(rows) = rows {
            span.record("db.response.returned_rows", rows as i64);
        }
        match &outcome {
            // A condition that does not hold is an answer, not a failure.
            Err(StoreError::ConditionsFailed { .. }) | Ok(_) => {}
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", error.kind());
            }
        }
        outcome
    }
}

/// The span of a call of the port; `size` is how many things it asks for.
pub(super) fn span(name: &'static str, operation: &'static str, table: &str, size: usize) -> Span {
    let span = info_span!(
        "dynamodb",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        db.system.name = "aws.dynamodb",
        rpc.system = "aws-api",
        rpc.service = "DynamoDB",
        rpc.method = operation,
        db.operation.name = operation,
        db.operation.batch.size = Empty,
        db.collection.name = table,
        db.response.returned_rows = Empty,
        aws.dynamodb.index_name = Empty,
        app.store.requests = Empty,
        app.store.consumed_capacity = Empty,
        app.store.retries = Empty,
    );
    span.set_attribute("aws.dynamodb.table_names", texts(table.to_owned()));
    if size > 1 {
        span.record("db.operation.batch.size", size as i64); // one is no batch, by the conventions
    }
    span
}
