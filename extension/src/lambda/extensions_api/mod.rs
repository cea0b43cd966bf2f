//! Lambda's Extensions API: register, then request the next event until SHUTDOWN.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>

pub mod error;
mod connection;

use http::{HeaderValue, Method, Request, StatusCode, request};
use http_body_util::Full;
use serde::{Deserialize, Deserializer};

use crate::lambda::extensions_api::{connection::ApiConnection, error::ApiError};

const IDENTIFIER: &str = "lambda-extension-identifier";

/// The feature with which the answer to the registration names the account.
const ACCOUNT_ID: &str = "accountId";

#[derive(Debug)]
pub struct ExtensionsApi {
    connection: ApiConnection,
    identifier: HeaderValue,
    events: EventTypes,
    account_id: Option<String>,
}

/// The events that an extension is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTypes {
    All,
    Shutdown,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "eventType", rename_all = "UPPERCASE")]
pub enum LambdaEvent {
    Invoke(Invoke),
    Shutdown(Shutdown),
}

/// An invocation without its payload, which extensions never get.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Invoke {
    pub request_id: String,
    /// Unix milliseconds at which the function times out; emulators send 0.
    #[serde(default, deserialize_with = "number_or_text")]
    pub deadline_ms: u64,
    #[serde(default)]
    tracing: serde_json::Value,
}

impl Invoke {
    /// The value of `X-Amzn-Trace-Id`. Emulators send none, or an empty one.
    pub fn xray_header(&self) -> Option<String> {
        let value = self.tracing.get("value")?.as_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    }
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Shutdown {
    /// `spindown`, `timeout` or `failure` in any case; emulators send free text.
    #[serde(default)]
    pub shutdown_reason: String,
    /// Unix milliseconds by which the process must be gone; emulators send 0.
    #[serde(default, deserialize_with = "number_or_text")]
    pub deadline_ms: u64,
}

impl Shutdown {
    /// Whether the sandbox ends because of a failure or timeout.
    pub fn is_failure(&self) -> bool {
        let reason = &self.shutdown_reason;
        !reason.is_empty() && !reason.eq_ignore_ascii_case("spindown")
    }
}

impl ExtensionsApi {
    /// Registers for `events`, or for SHUTDOWN alone after a 403: extensions on Lambda Managed Instances
    /// get no INVOKE. Asks for the account id, and does without it if that is refused. `name` must be the
    /// executable's file name.
    pub async fn register(events: EventTypes, api: &str, name: &str) -> Result<Self, ApiError> {
        let (mut events, mut feature) = (events, Some(ACCOUNT_ID));
        loop {
            match Self::register_for(events, feature, api, name).await {
                Err(ApiError::Refused { status: StatusCode::FORBIDDEN, .. })
                    if events == EventTypes::All =>
                {
                    events = EventTypes::Shutdown;
                }
                Err(ApiError::Refused { .. }) if feature.is_some() => feature = None,
                registered => return registered,
            }
        }
    }

    /// Registers for these events alone.
    async fn register_for(
        events: EventTypes,
        feature: Option<&str>,
        api: &str,
        name: &str,
    ) -> Result<Self, ApiError> {
        const CALL: &str = "POST /extension/register";
        let connection = ApiConnection::to(api);
        let request = Request::builder()
            .method(Method::POST)
            .uri("/2020-01-01/extension/register")
            .header("lambda-extension-name", name);
        let request = match feature {
            Some(feature) => request.header("lambda-extension-accept-feature", feature),
            None => request,
        };
        let body = match events {
            EventTypes::All => r#"{"events":["INVOKE","SHUTDOWN"]}"#,
            EventTypes::Shutdown => r#"{"events":["SHUTDOWN"]}"#,
        };
        let (head, answer) = connection.send(CALL, request, body.into()).await?;
        let identifier = head.headers.get(IDENTIFIER).cloned().ok_or_else(|| {
            ApiError::Unexpected { call: CALL, reason: format!("no header {IDENTIFIER}") }
        })?;
        Ok(Self { connection, identifier, events, account_id: account_id(&answer) })
    }

    /// The account of the function; `None` if Lambda does not name it.
    pub fn account_id(&self) -> Option<&str> {
        self.account_id.as_deref()
    }

    pub fn events(&self) -> EventTypes {
        self.events
    }

    /// Waits for the next event, without a time limit: the process may be frozen here for hours.
    pub async fn next(&self) -> Result<LambdaEvent, ApiError> {
        const CALL: &str = "GET /extension/event/next";
        let request = self.request(Method::GET, "/2020-01-01/extension/event/next");
        let (_, body) = self.connection.send(CALL, request, Full::default()).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ApiError::Unexpected { call: CALL, reason: error.to_string() })
    }

    /// Subscribes `port` to events of these types (`platform`, `function`). Lambda accepts this only
    /// before the first Next.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api-reference.html>
    pub async fn subscribe_telemetry(&self, port: u16, types: &[&str]) -> Result<(), ApiError> {
        const CALL: &str = "PUT /telemetry";
        let schema = match self.events {
            EventTypes::All => "2022-12-13",
            EventTypes::Shutdown => "2025-01-29", // the only one that Managed Instances know
        };
        // 25 ms is the shortest delay and 1000 the smallest batch that Lambda allows.
        let body = serde_json::json!({
            "schemaVersion": schema,
            "types": types,
            "destination": { "protocol": "HTTP", "URI": format!("http://sandbox.localdomain:{port}/") },
            "buffering": { "maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25 },
        });
        let request = self
            .request(Method::PUT, "/2022-07-01/telemetry")
            .header(http::header::CONTENT_TYPE, "application/json");
        self.connection.send(CALL, request, body.to_string().into()).await.map(drop)
    }

    fn request(&self, method: Method, path: &'static str) -> request::Builder {
        Request::builder().method(method).uri(path).header(IDENTIFIER, &self.identifier)
    }
}

/// The account in the answer to the registration: twelve digits, as text or number.
/// <https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-identifiers.html>
fn account_id(answer: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let id = match answer.get(ACCOUNT_ID)? {
        serde_json::Value::String(id) => id.clone(),
        serde_json::Value::Number(id) => format!("{:012}", id.as_u64()?),
        _ => return None,
    };
    (id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
}

/// The guide's example shows the deadline as text, its prose as a number. Other forms become 0, which
/// means no deadline.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_fields_missing_or_unknown() {
        let event = serde_json::from_str::<LambdaEvent>(
            r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":7,"tracing":null,"new":1}"#,
        );
        let tracing = serde_json::Value::Null;
        let invoke = Invoke { request_id: "r".into(), deadline_ms: 7, tracing };
        assert_eq!(event.unwrap(), LambdaEvent::Invoke(invoke));

        let event = serde_json::from_str::<LambdaEvent>(r#"{"eventType":"SHUTDOWN"}"#);
        let shutdown = Shutdown { shutdown_reason: String::new(), deadline_ms: 0 };
        assert_eq!(event.unwrap(), LambdaEvent::Shutdown(shutdown));
    }

    #[test]
    fn an_account_id_has_twelve_digits() {
        for (answer, expected) in [
            (r#"{"accountId":"012345678901"}"#, Some("012345678901")),
            (r#"{"accountId":12345678901}"#, Some("012345678901")),
            (r#"{"accountId":"01234567890"}"#, None),
            (r#"{"accountId":"01234567890x"}"#, None),
            (r#"{"accountId":-1}"#, None),
            (r#"{"accountId":null}"#, None),
            ("{}", None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(account_id(answer.as_bytes()).as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn a_deadline_is_read_as_number_or_text_and_is_otherwise_none() {
        for (deadline, expected) in [("7", 7), (r#""7""#, 7), ("null", 0), ("-1", 0), ("[]", 0)] {
            let json = format!(r#"{{"requestId":"r","deadlineMs":{deadline}}}"#);

            assert_eq!(serde_json::from_str::<Invoke>(&json).unwrap().deadline_ms, expected);
        }
    }
}
