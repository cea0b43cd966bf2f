//! The `http` block, and which flags an HTTP status sets.

use std::borrow::Cow;

use super::{
    attributes::{Attributes, Slot},
    document::{Http, HttpRequest, HttpResponse},
    limits::cut_field,
};

/// Reads it from the attributes, if there is anything to say.
pub(super) fn http<'a>(attributes: &mut Attributes<'a>, is_segment: bool) -> Option<Http<'a>> {
    let method = attributes.take(Slot::HttpMethod);
    let client_ip = attributes.take(Slot::ClientAddress);
    let status = attributes.take_number(Slot::HttpStatus);
    let bytes = attributes.take_number(Slot::ResponseBytes);
    let http = Http {
        request: HttpRequest {
            url: match &method {
                Some(_) => url(attributes),
                None => attributes.take(Slot::HttpUrl),
            },
            user_agent: attributes.take(Slot::UserAgent),
            x_forwarded_for: is_segment && client_ip.is_some(),
            client_ip,
            method,
        },
        response: HttpResponse {
            status: status.and_then(|status| u16::try_from(status).ok()),
            content_length: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        },
    };
    (http != Http::default()).then_some(http)
}

/// The whole URL, put together if need be; without a host just the path.
fn url<'a>(attributes: &mut Attributes<'a>) -> Option<Cow<'a, str>> {
    if let Some(url) = attributes.take(Slot::HttpUrl) {
        return Some(url);
    }
    let path = attributes.take(Slot::HttpTarget)?;
    let query = attributes.peek(Slot::HttpQuery);
    let host = attributes.peek(Slot::HttpHost).or(attributes.peek(Slot::ServerAddress));
    if host.is_none() && query.is_none() {
        return Some(path);
    }
    let origin = host.map(|host| {
        let scheme = attributes.peek(Slot::HttpScheme).unwrap_or("http");
        format!("{scheme}://{host}")
    });
    let query = query.map(|query| format!("?{query}"));
    let url = format!("{}{path}{}", origin.unwrap_or_default(), query.unwrap_or_default());
    Some(Cow::Owned(cut_field(&url).into_owned()))
}

/// `error`, `throttle` and `fault`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// The caller is to blame.
    pub(super) error: bool,
    /// It asked too often.
    pub(super) throttle: bool,
    /// The callee is to blame.
    pub(super) fault: bool,
}

impl Flags {
    /// By the HTTP status, else by the kind of error that a failed span names.
    pub(super) fn of(status: Option<u16>, failed: bool, error_type: Option<&str>) -> Self {
        match (status, error_type) {
            (Some(429), _) => Self { error: true, throttle: true, fault: false },
            (Some(400..500), kind) => {
                Self { error: true, throttle: kind.is_some_and(is_throttling), fault: false }
            }
            (Some(500..), _) => Self { fault: true, ..Self::default() },
            (_, Some(kind)) if failed && is_throttling(kind) => {
                Self { error: true, throttle: true, fault: false }
            }
            _ => Self { fault: failed, ..Self::default() },
        }
    }
}

/// What AWS services call it, all with status 400.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
fn is_throttling(error_type: &str) -> bool {
    error_type.contains("Throttl")
        || error_type.contains("ProvisionedThroughputExceeded")
        || error_type.contains("RequestLimitExceeded")
        || error_type.contains("TooManyRequests")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::attributes;
    use super::*;

    #[track_caller]
    fn assert_http(given: serde_json::Value, is_segment: bool, expected: serde_json::Value) {
        let list = attributes(given);
        let block = http(&mut Attributes::new(&list), is_segment);
        assert_eq!(serde_json::to_value(block).unwrap(), expected);
    }

    #[test]
    fn a_server_span_of_the_present_names() {
        assert_http(
            json!({
                "http.request.method": "GET", "url.scheme": "https", "url.path": "/a", "url.query": "b=1",
                "server.address": "h.example", "user_agent.original": "curl", "client.address": "10.0.0.1",
                "http.response.status_code": 200, "http.response.body.size": 7,
            }),
            true,
            json!({
                "request": {
                    "method": "GET", "url": "https://h.example/a?b=1", "user_agent": "curl",
                    "client_ip": "10.0.0.1", "x_forwarded_for": true,
                },
                "response": { "status": 200, "content_length": 7 },
            }),
        );
    }

    #[test]
    fn a_client_span_of_the_old_names() {
        assert_http(
            json!({
                "http.method": "POST", "http.url": "http://h/a", "http.status_code": "503",
                "http.user_agent": "u", "http.client_ip": "::1",
            }),
            false,
            json!({
                "request": {
                    "method": "POST", "url": "http://h/a", "user_agent": "u", "client_ip": "::1",
                },
                "response": { "status": 503 },
            }),
        );
    }

    #[test]
    fn without_a_host_the_url_is_the_path_and_without_anything_there_is_no_block() {
        assert_http(
            json!({ "http.request.method": "GET", "url.path": "/a" }),
            false,
            json!({ "request": { "method": "GET", "url": "/a" } }),
        );
        assert_http(json!({ "app.name": "x" }), false, json!(null));
    }

    #[test]
    fn the_status_sets_the_flags_and_without_one_the_failure() {
        let flags = |error, throttle, fault| Flags { error, throttle, fault };
        assert_eq!(Flags::of(Some(200), true, None), flags(false, false, true));
        assert_eq!(Flags::of(Some(404), true, None), flags(true, false, false));
        assert_eq!(Flags::of(Some(429), false, None), flags(true, true, false));
        assert_eq!(Flags::of(Some(503), true, None), flags(false, false, true));
        assert_eq!(Flags::of(None, true, Some("ThrottlingException")), flags(true, true, false));
        assert_eq!(Flags::of(None, true, Some("throttled")), flags(false, false, true));
        assert_eq!(Flags::of(None, false, Some("ThrottlingException")), flags(false, false, false));
    }
}
