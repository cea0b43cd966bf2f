//! What lets a page of another origin call us. Under an emulator only: deployed, the gateway
//! answers preflights and sets these headers, and drops ours.

use http::StatusCode;

use super::Response;

/// Headers that a page may send in addition to the safelisted ones.
const ALLOWED_HEADERS: &str =
    "authorization,baggage,content-type,idempotency-key,if-none-match,traceparent,tracestate";

/// Headers that a page may read in addition to the safelisted ones.
const EXPOSED_HEADERS: &str = "etag,link,retry-after,traceparent,x-amzn-trace-id";

/// Seconds for which a browser may cache the answer to a preflight.
const MAX_AGE: &str = "600";

/// Those of all routes, as the gateway answers: functions with different methods share a path.
const ALLOWED_METHODS: &str = "GET,HEAD,POST,PUT,DELETE";

/// The answer to a browser that asks whether it may.
pub fn preflight() -> Response {
    Response::empty(StatusCode::OK)
        .with_header("access-control-allow-methods", ALLOWED_METHODS.to_owned())
        .with_header("access-control-allow-headers", ALLOWED_HEADERS.to_owned())
        .with_header("access-control-max-age", MAX_AGE.to_owned())
}

/// The response, readable by pages of one origin. It names that origin for every caller, so a
/// browser withholds the response from pages of other origins.
pub fn for_page(reply: Response, origin: &str) -> Response {
    reply
        .with_header("access-control-allow-origin", origin.to_owned())
        .with_header("access-control-expose-headers", EXPOSED_HEADERS.to_owned())
}
