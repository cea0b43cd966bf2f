//! What lets a page of another origin call us. Under an emulator only: deployed, the gateway answers
//! preflights and sets these headers, and drops ours.

use http::StatusCode;

use super::{Response, Route};

/// What a page may send beside the headers that every page may.
const ALLOWED_HEADERS: &str = "authorization,content-type,idempotency-key,traceparent,tracestate";

/// What a page may read beside the headers that every page may.
const EXPOSED_HEADERS: &str = "link,traceparent,x-amzn-trace-id";

/// How long a browser may remember the answer to a preflight, in seconds. Our choice.
const MAX_AGE: &str = "600";

/// The answer to a browser that asks whether it may.
pub fn preflight(route: &Route) -> Response {
    Response::empty(StatusCode::OK)
        .with_header("access-control-allow-methods", route.methods.join(","))
        .with_header("access-control-allow-headers", ALLOWED_HEADERS.to_owned())
        .with_header("access-control-max-age", MAX_AGE.to_owned())
}

/// The reply, for pages of one origin to read. It names that origin whoever asks, so that a browser
/// with a page of another one keeps it from that page.
pub fn for_page(reply: Response, origin: &str) -> Response {
    reply
        .with_header("access-control-allow-origin", origin.to_owned())
        .with_header("access-control-expose-headers", EXPOSED_HEADERS.to_owned())
}
