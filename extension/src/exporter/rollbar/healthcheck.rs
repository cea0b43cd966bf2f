//! Whether Rollbar is reachable and accepts the token.

use std::time::{Instant, SystemTime};

use http::StatusCode;

use crate::client::http::without_query;
use crate::delivery::error::ExportError;
use crate::delivery::healthcheck::Finding;
use crate::exporter::rollbar::request::{RollbarApi, refusal};

/// Not an item: Rollbar checks the token first and then refuses the body.
const EMPTY: &str = "{}";

/// Posts an invalid item, which Rollbar does not store.
pub(super) async fn check(api: &mut RollbarApi) -> Vec<Finding> {
    let endpoint = without_query(&api.endpoint).to_owned();
    let begun = Instant::now();
    let reply = match api.post(EMPTY.into()).await {
        Ok(reply) => reply,
        Err(error @ ExportError::NoKey { .. }) => {
            return vec![Finding::failed("no token", &error)];
        }
        Err(error) => return vec![Finding::failed(&endpoint, &error)],
    };
    let took = begun.elapsed().as_millis();
    let answers = Finding::fine(format!("{endpoint} answers in {took} ms, the first time"));
    let clock = Finding::clock(&reply.headers, SystemTime::now());
    let token = match reply.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Finding::fine("accepts the token; no item was created")
        }
        status if status.is_success() => {
            let why = "accepts an invalid item, so it is probably not Rollbar";
            Finding::misconfigured(format!("{endpoint} {why}"))
        }
        _ => Finding::failed(&endpoint, &refusal(&reply)),
    };
    [answers, token].into_iter().chain(clock).collect()
}
