//! Whether Rollbar can be sent to.

use std::time::{Instant, SystemTime};

use http::StatusCode;

use crate::{
    client::http::without_query,
    delivery::{error::ExportError, healthcheck::Finding},
    exporter::rollbar::{Rollbar, refusal},
};

/// No item at all: Rollbar looks at the token first, and refuses the rest.
const NOTHING: &str = "{}";

impl Rollbar {
    /// Sends something that becomes no item.
    pub async fn check(&mut self) -> Vec<Finding> {
        let endpoint = without_query(&self.endpoint).to_owned();
        let begun = Instant::now();
        let reply = match self.post(NOTHING.into()).await {
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
                Finding::fine("takes the token; no item was made")
            }
            status if status.is_success() => {
                let why = "takes what is no item, without a word: no Rollbar?";
                Finding::misconfigured(format!("{endpoint} {why}"))
            }
            _ => Finding::failed(&endpoint, &refusal(&reply)),
        };
        [answers, token].into_iter().chain(clock).collect()
    }
}
