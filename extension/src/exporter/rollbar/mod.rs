//! Posts [failures](crate::processor::failures) to Rollbar, one item in each request.
//! <https://docs.rollbar.com/reference/create-item>
//!
//! | reply | what becomes of the item |
//! |---|---|
//! | 200 | Rollbar has it |
//! | 413 | a reduced one is sent once ([`fit`]); refused again it is dropped and counted |
//! | 429 | it waits as long as the headers say, and so do all others |
//! | 401, 403 | the log says so once; items are kept, and tried again from time to time |
//! | 400, 422 and other 4xx | dropped and counted, alone |
//! | 5xx, no answer | it is sent again |
//!
//! What Rollbar took or refused of a batch that failed later is remembered and not sent again. Should an item
//! arrive twice all the same, its `uuid` is the same, and Rollbar drops the second.

pub mod config;
mod healthcheck;

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use tracing::warn;

use crate::{
    client::{
        http::{HttpClient, HttpReply, USER_AGENT, readable, retry_after},
        secret::Secret,
    },
    delivery::{
        DestinationSpec, Exporter,
        batch::{Batch, MAX_FAILURES},
        error::{ExportError, ExportOutcome},
        healthcheck::Finding,
    },
    exporter::rollbar::config::RollbarConfig,
    otlp::{
        failure_codec::{EncodedItem, read},
        payload::SignalKind,
    },
    processor::failures::truncate,
};
use futures_util::future::BoxFuture;

/// Our choice: Rollbar's own libraries wait for 3 s, but they hold a request back with it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The most of a reply that is read: it is a sentence.
const MAX_REPLY_BYTES: usize = 16 << 10;

/// Header of the token.
const TOKEN: &str = "x-rollbar-access-token";

/// Items of unfinished batches that Rollbar has answered. Our choice: those of many batches.
const REMEMBERED: usize = 16 * MAX_FAILURES;

/// Longest pause that a reply can ask for. Our choice: limits of Rollbar are by the minute, and
/// its own libraries wait no longer than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Debug)]
pub struct Rollbar {
    endpoint: String,
    token: Secret,
    /// Made for the first item: TLS and its roots have no place in a cold start.
    client: Option<HttpClient>,
    /// Ids of items that need not be sent again, and whether they were refused; oldest first.
    answered: VecDeque<(String, bool)>,
    /// The log says it again only after an item was taken.
    has_refused: bool,
}

impl Rollbar {
    /// An exporter that has not opened anything yet.
    pub fn new(config: &RollbarConfig) -> Self {
        Self {
            endpoint: config.endpoint.clone(),
            token: Secret::new(config.token.clone()),
            client: None,
            answered: VecDeque::new(),
            has_refused: false,
        }
    }

    /// Sends the items of a batch one after the other, up to the first that has to be sent again.
    pub async fn export(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let plain = batch.to_plain();
        let plain = plain.map_err(|error| ExportError::Unreadable(error.to_string()))?;
        let mut rejected = 0;
        for EncodedItem { id, items, json } in read(&plain) {
            let answered = self.answered.iter().find(|(known, _)| known == id);
            let is_refused = match answered {
                Some((_, is_refused)) => *is_refused,
                None => self.answer(id, json).await?,
            };
            rejected += if is_refused { items } else { 0 };
        }
        Ok(ExportOutcome { rejected, unsampled: 0 })
    }

    /// Whether an item is refused for good.
    async fn answer(&mut self, id: &str, json: &str) -> Result<bool, ExportError> {
        let is_refused = match self.send(json).await {
            Ok(()) => false,
            Err(error) if error.is_final() => {
                if !self.has_refused {
                    warn!("rollbar refuses an item, which is dropped: {error}");
                }
                true
            }
            Err(error) => return Err(error),
        };
        self.has_refused = is_refused;
        if self.answered.len() == REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back((id.to_owned(), is_refused));
        Ok(is_refused)
    }

    /// The next item makes a new connection.
    pub fn disconnect(&mut self) {
        self.client = None;
    }

    async fn send(&mut self, json: &str) -> Result<(), ExportError> {
        let mut reply = self.post(json.to_owned().into()).await?;
        if reply.status == StatusCode::PAYLOAD_TOO_LARGE
            && let Some(reduced) = truncate::reduced(json)
        {
            reply = self.post(reduced.into()).await?;
        }
        if reply.status.is_success() {
            return Ok(());
        }
        Err(refusal(&reply))
    }

    /// Once more with a new token, if the old one was refused and there is a new one.
    async fn post(&mut self, body: Bytes) -> Result<HttpReply, ExportError> {
        let reply = self.post_once(body.clone()).await?;
        let is_refused = matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_refused && self.token.renew().await? {
            return self.post_once(body).await;
        }
        Ok(reply)
    }

    async fn post_once(&mut self, body: Bytes) -> Result<HttpReply, ExportError> {
        let request = Request::post(&self.endpoint)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json")
            .header(TOKEN, self.token.get().await?)
            .body(Full::new(body))
            .map_err(|error| ExportError::Unreadable(error.to_string()))?;
        let client = self.client.get_or_insert_with(HttpClient::default);
        client.send(request, REQUEST_TIMEOUT, MAX_REPLY_BYTES).await
    }
}

impl Exporter for Rollbar {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "rollbar",
            kinds: vec![SignalKind::Failures],
            durable: true,
            keeps_duplicates: false, // the second of two items with one uuid is dropped
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.export(batch))
    }

    fn reset_connections(&mut self) {
        self.disconnect();
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(self.check())
    }
}

fn refusal(reply: &HttpReply) -> ExportError {
    let status = reply.status;
    let message = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "the token is not accepted, look at ROLLBAR_ACCESS_TOKEN: it must have the scope \
             post_server_item"
                .to_owned()
        }
        _ => said(&reply.body),
    };
    ExportError::Status { status, message, retry_after: pause(status, &reply.headers) }
}

/// `{"err": 1, "message": "…"}`
fn said(body: &[u8]) -> String {
    let reply: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match reply["message"].as_str() {
        Some(message) => readable(message.as_bytes()),
        None => readable(body),
    }
}

/// How long Rollbar wants to be left alone.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let now = SystemTime::now();
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let limited = || {
        let until = || {
            let reset = Duration::from_secs(number("x-rate-limit-reset")?);
            UNIX_EPOCH.checked_add(reset)?.duration_since(now).ok()
        };
        number("x-rate-limit-remaining-seconds").map(Duration::from_secs).or_else(until)
    };
    let limited = (status == StatusCode::TOO_MANY_REQUESTS).then(limited).flatten();
    let asked = retry_after(headers, now).or(limited);
    asked.map(|pause| pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_pause(status: u16, headers: &[(&'static str, String)], expected: Option<u64>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let found = pause(StatusCode::from_u16(status).unwrap(), &map);
        assert_eq!(found.map(|pause| pause.as_secs_f64().round() as u64), expected, "{headers:?}");
    }

    #[test]
    fn a_limit_says_how_long_to_wait_and_only_where_it_is_reached() {
        let seconds = |text: &str| ("x-rate-limit-remaining-seconds", text.to_owned());
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 40;
        assert_pause(429, &[seconds("17")], Some(17));
        assert_pause(429, &[seconds("86400")], Some(60));
        assert_pause(429, &[seconds("-1")], None);
        assert_pause(429, &[("x-rate-limit-reset", "1".to_owned())], None);
        assert_pause(429, &[("x-rate-limit-reset", u64::MAX.to_string())], None);
        assert_pause(429, &[("x-rate-limit-reset", i64::MAX.to_string())], Some(60));
        assert_pause(429, &[seconds(&u64::MAX.to_string())], Some(60));
        assert_pause(429, &[("retry-after", "5".to_owned()), seconds("17")], Some(5));
        assert_pause(500, &[seconds("17")], None);
        let reset = [("x-rate-limit-reset", (soon + 100).to_string())];
        assert_pause(429, &reset, Some(60));
    }

    #[test]
    fn what_rollbar_says_is_told() {
        assert_eq!(said(br#"{"err":1,"message":"no data"}"#), "no data");
        assert_eq!(said(b"<html>"), "<html>");
    }
}
