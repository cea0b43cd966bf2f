//! `POST /api/telemetry/traces`: spans of the page, for its part of a trace.
//!
//! The page holds no key of Honeycomb; its spans take the way of the functions' own.

mod clock;
mod sanitize;
mod page_spans;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tracing::{Span, field::Empty, info, instrument};

use page_spans::{BadTraces, Encoding, MAX_SPANS};

use crate::{
    http::{ApiError, Request, Response, Route},
    runtime::App,
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["POST"], "/api/telemetry/traces").store_connections(0);

/// Most bytes of a request: the most that browsers send while a page is being left.
/// <https://fetch.spec.whatwg.org/#http-network-or-cache-fetch>
const MAX_BODY: usize = 64 * 1024;

/// What OTLP answers, in the encoding of the request.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    check_origin(app, &request)?;
    let encoding = encoding(&request)?;
    let traces =
        page_spans::read(encoding, request.body_up_to(MAX_BODY)?, app.now()).map_err(refused)?;
    let count = pass_on(app, &traces).await?;
    info!(count, "Took {count} spans of the page");
    Ok(match encoding {
        Encoding::Json => Response::replayed(r#"{"partialSuccess":{}}"#.to_owned()),
        Encoding::Protobuf => Response::empty_protobuf(),
    })
}

/// A browser says truly which page it is that sends something. Others need not, and are held in
/// check by the gateway's limits.
fn check_origin(app: &App, request: &Request) -> Result<(), ApiError> {
    let origin = request.header("origin");
    let mut allowed = app.config().page_origins.iter();
    match origin {
        Some(origin) if allowed.any(|it| it == origin) => Ok(()),
        other => Err(ApiError::ForeignOrigin(other.unwrap_or_default().to_owned())),
    }
}

fn encoding(request: &Request) -> Result<Encoding, ApiError> {
    let unknown = |header| ApiError::UnsupportedMediaType(header);
    if let Some(coding) = request.header("content-encoding").filter(|it| *it != "identity") {
        return Err(unknown(coding.to_owned()));
    }
    match request.media_type().as_str() {
        "application/json" => Ok(Encoding::Json),
        "application/x-protobuf" => Ok(Encoding::Protobuf),
        other => Err(unknown(other.to_owned())),
    }
}

fn refused(error: BadTraces) -> ApiError {
    match error {
        BadTraces::TooMany(spans) => ApiError::TooManySpans { spans, max_spans: MAX_SPANS },
        other => ApiError::MalformedTraces(other.to_string()),
    }
}

#[instrument(name = "browser-traces", skip_all, fields(app.result_length = Empty))]
async fn pass_on(app: &App, traces: &ExportTraceServiceRequest) -> Result<usize, ApiError> {
    let count = page_spans::count(traces);
    if count > 0 {
        let taken = app.extension().take(traces).await;
        taken.map_err(|error| ApiError::TracesNotTaken(error.into()))?;
    }
    Span::current().record("app.result_length", count as i64);
    Ok(count)
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
