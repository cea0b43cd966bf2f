//! Posts items to Rollbar's API, with the token, and reads its refusals.
//! <https://docs.rollbar.com/reference/create-item>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;

use crate::client::http::{HttpClient, HttpReply, USER_AGENT, readable, retry_after};
use crate::client::secret::Secret;
use crate::delivery::error::ExportError;
use crate::exporter::rollbar::config::RollbarConfig;

/// Rollbar's own libraries wait 3 s, but their wait delays the application's reply; this one does not.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a reply that are read; Rollbar's replies are one sentence.
const MAX_REPLY_BYTES: usize = 16 << 10;

const TOKEN: &str = "x-rollbar-access-token";

/// Longest pause that a reply can ask for: Rollbar's limits are per minute, and its own libraries wait
/// no longer either.
const MAX_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct RollbarApi {
    pub(super) endpoint: String,
    token: Secret,
    /// Created for the first item, so that a cold start does not wait for TLS and its roots.
    client: Option<HttpClient>,
}

impl RollbarApi {
    pub fn new(config: &RollbarConfig) -> Self {
        Self {
            endpoint: config.endpoint.clone(),
            token: Secret::new(config.token.clone()),
            client: None,
        }
    }

    pub(super) fn reset_connections(&mut self) {
        self.client = None;
    }

    /// A refused token is fetched again; if it has changed, the request is sent once more.
    pub async fn post(&mut self, body: Bytes) -> Result<HttpReply, ExportError> {
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

pub fn refusal(reply: &HttpReply) -> ExportError {
    let status = reply.status;
    let message = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "Rollbar refuses the token: check ROLLBAR_ACCESS_TOKEN, which needs the scope \
             post_server_item"
                .to_owned()
        }
        _ => error_message(&reply.body),
    };
    ExportError::Status { status, message, retry_after: pause(status, &reply.headers) }
}

/// Whether a success is one of Rollbar's: its body is `{"err": 0, …}`, or empty.
pub fn confirmed(reply: &HttpReply) -> Result<(), ExportError> {
    if reply.body.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<serde_json::Value>(&reply.body) {
        Ok(body) if body["err"].as_i64().is_some_and(|error| error != 0) => {
            // Rollbar answers an invalid item with this status.
            let (status, message) = (StatusCode::UNPROCESSABLE_ENTITY, error_message(&reply.body));
            Err(ExportError::Status { status, message, retry_after: None })
        }
        Ok(body) if body.is_object() => Ok(()),
        _ => Err(ExportError::ForeignReply(readable(&reply.body))),
    }
}

/// Reads `{"err": 1, "message": "…"}`.
fn error_message(body: &[u8]) -> String {
    let reply: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match reply["message"].as_str() {
        Some(message) => readable(message.as_bytes()),
        None => readable(body),
    }
}

/// The pause that the headers ask for.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let now = SystemTime::now();
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let limited = || {
        let until = || {
            let reset = UNIX_EPOCH + Duration::from_secs(number("x-rate-limit-reset")?);
            reset.duration_since(now).ok()
        };
        number("x-rate-limit-remaining-seconds").map(Duration::from_secs).or_else(until)
    };
    let limited = (status == StatusCode::TOO_MANY_REQUESTS).then(limited).flatten();
    let asked = retry_after(headers, now).or(limited);
    asked.map(|pause| pause.min(MAX_PAUSE))
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
    fn a_reached_limit_sets_the_pause() {
        let seconds = |text: &str| ("x-rate-limit-remaining-seconds", text.to_owned());
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 40;
        assert_pause(429, &[seconds("17")], Some(17));
        assert_pause(429, &[seconds("86400")], Some(60));
        assert_pause(429, &[seconds("-1")], None);
        assert_pause(429, &[("x-rate-limit-reset", "1".to_owned())], None);
        assert_pause(429, &[("retry-after", "5".to_owned()), seconds("17")], Some(5));
        assert_pause(500, &[seconds("17")], None);
        let reset = [("x-rate-limit-reset", (soon + 100).to_string())];
        assert_pause(429, &reset, Some(60));
    }

    #[test]
    fn a_success_is_a_delivery_if_its_body_is_rollbars_and_has_no_error() {
        let confirm = |body: &'static str| {
            let (status, headers) = (StatusCode::OK, HeaderMap::new());
            confirmed(&HttpReply { status, headers, body: Bytes::from_static(body.as_bytes()) })
        };
        for body in ["", "{}", r#"{"err":0,"result":{"id":null,"uuid":"x"}}"#] {
            assert!(confirm(body).is_ok(), "{body}");
        }
        let refused = confirm(r#"{"err":1,"message":"no environment"}"#).unwrap_err();
        assert!(refused.is_final(), "{refused}");
        assert!(refused.to_string().contains("no environment"), "{refused}");
        for body in ["<html>Sign in</html>", "OK", "[]"] {
            let error = confirm(body).unwrap_err();
            assert!(!error.is_final(), "{body}: {error}");
        }
    }

    #[test]
    fn an_error_is_reported_with_rollbars_message() {
        assert_eq!(error_message(br#"{"err":1,"message":"no data"}"#), "no data");
        assert_eq!(error_message(b"<html>"), "<html>");
    }
}
