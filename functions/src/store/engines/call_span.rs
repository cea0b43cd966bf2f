//! The span of a store call, whichever the engine.
//! Attributes by <https://opentelemetry.io/docs/specs/semconv/database/database-spans/>.

use tracing::{Span, field::Empty, info_span};

use crate::store::StoreError;

/// The kind of a call.
pub(super) struct Call {
    /// The engine, by the conventions.
    pub(super) system: &'static str,
    /// The span's name, such as `SQLite.Query`.
    pub(super) name: &'static str,
    /// What the engine calls it.
    pub(super) operation: &'static str,
}

/// Opens it; `collection` is the engine's table, and `size` how many things it is asked for. The
/// fields of `aws.dynamodb` and `app.store` are for the engine to fill in.
pub(super) fn open(call: &Call, collection: &str, size: usize) -> Span {
    let span = info_span!(
        "store",
        otel.name = call.name,
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        db.system.name = call.system,
        db.operation.name = call.operation,
        db.operation.batch.size = Empty,
        db.collection.name = collection,
        db.response.returned_rows = Empty,
        db.response.status_code = Empty,
        aws.dynamodb.index_name = Empty,
        app.store.requests = Empty,
        app.store.consumed_capacity = Empty,
        app.store.retries = Empty,
    );
    if size > 1 {
        span.record("db.operation.batch.size", size as i64); // a batch has at least two, by the conventions
    }
    span
}

/// Says how it went; `rows` of a call that reads.
pub(super) fn record<T>(span: &Span, rows: Option<usize>, outcome: &Result<T, StoreError>) {
    match outcome {
        // A condition that does not hold is an answer, not a failure.
        Ok(_) | Err(StoreError::ConditionsFailed { .. }) => {
            if let Some(rows) = rows {
                span.record("db.response.returned_rows", rows as i64);
            }
        }
        Err(error) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error.kind());
            if let Some(code) = error.code() {
                span.record("db.response.status_code", code);
            }
        }
    }
}
