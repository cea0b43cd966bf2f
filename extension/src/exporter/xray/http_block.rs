//! The `http` block, and which flags an HTTP status sets.

use std::borrow::Cow;

use crate::exporter::xray::{
    attributes::{Attributes, Slot},
    document::{HttpBlock, HttpRequest, HttpResponse},
    limits::cut_field,
};

/// `None` without attributes of HTTP.
pub(super) fn http<'a>(attributes: &mut Attributes<'a>, is_segment: bool) -> Option<HttpBlock<'a>> {
    let method = attributes.take(Slot::HttpMethod);
    let client_ip = attributes.take(Slot::ClientAddress);
    let http = HttpBlock {
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
            status: attributes.take_number(Slot::HttpStatus),
            content_length: attributes.take_number(Slot::ResponseBytes),
        },
    };
    (http != HttpBlock::default()).then_some(http)
}

/// The full URL, built from its parts if necessary; only the path if no host is known.
fn url<'a>(attributes: &mut Attributes<'a>) -> Option<Cow<'a, str>> {
    if let Some(url) = attributes.take(Slot::HttpUrl) {
        return Some(url);
    }
    let path = attributes.peek(Slot::HttpTarget)?;
    let query = attributes.peek(Slot::HttpQuery).map(|query| format!("?{query}"));
    let origin = origin(attributes).unwrap_or_default();
    let url = format!("{origin}{path}{}", query.unwrap_or_default());
    match cut_field(&url) {
        Cow::Owned(beginning) => Some(beginning.into()),
        Cow::Borrowed(_) => {
            attributes.mark_taken(Slot::HttpTarget);
            Some(url.into())
        }
    }
}

/// `https://host:port`; the scheme's default port is omitted.
fn origin(attributes: &Attributes<'_>) -> Option<String> {
    let scheme = attributes.peek(Slot::HttpScheme).unwrap_or("http");
    if let Some(host) = attributes.peek(Slot::HttpHost) {
        return Some(format!("{scheme}://{host}")); // the header includes the port
    }
    // The server's own address comes first: with the old names, a server's peer is the client.
    let [address, port] =
        [[Slot::HostName, Slot::HostPort], [Slot::ServerAddress, Slot::ServerPort]]
            .into_iter()
            .find(|[address, _]| attributes.peek(*address).is_some())?;
    let address = attributes.peek(address)?;
    let address = match address.contains(':') && !address.starts_with('[') {
        true => format!("[{address}]"), // IPv6
        false => address.to_owned(),
    };
    match (attributes.peek_number::<u16>(port), scheme) {
        (None, _) | (Some(80), "http") | (Some(443), "https") => {
            Some(format!("{scheme}://{address}"))
        }
        (Some(port), _) => Some(format!("{scheme}://{address}:{port}")),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// The caller caused it: 4xx.
    pub(super) error: bool,
    /// 429, or an AWS throttling error.
    pub(super) throttle: bool,
    /// The callee caused it: 5xx, or a failed span.
    pub(super) fault: bool,
}

impl Flags {
    /// The HTTP status decides, else the error types of a failed span.
    pub(super) fn new(status: Option<u16>, failed: bool, kinds: &[&str]) -> Self {
        let throttled = || kinds.iter().any(|kind| is_throttling(kind));
        match status {
            Some(429) => Self { error: true, throttle: true, fault: false },
            Some(400..500) => Self { error: true, throttle: throttled(), fault: false },
            Some(500..) => Self { fault: true, ..Self::default() },
            _ if failed && throttled() => Self { error: true, throttle: true, fault: false },
            _ => Self { fault: failed, ..Self::default() },
        }
    }
}

/// AWS services use these error codes for throttling, most of them with status 400.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
fn is_throttling(kind: &str) -> bool {
    kind.contains("Throttl")
        || kind.contains("ProvisionedThroughputExceeded")
        || kind.contains("RequestLimitExceeded")
        || kind.contains("TooManyRequests")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exporter::xray::tests::attributes;

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
    fn a_url_that_is_put_together_has_its_host_and_a_port_that_is_not_the_schemes() {
        for (given, origin) in [
            (json!({ "server.address": "h", "server.port": 8080 }), "http://h:8080"),
            (json!({ "server.address": "h", "server.port": 80 }), "http://h"),
            (
                json!({ "url.scheme": "https", "server.address": "h", "server.port": 443 }),
                "https://h",
            ),
            (
                json!({ "url.scheme": "https", "server.address": "h", "server.port": 80 }),
                "https://h:80",
            ),
            (json!({ "server.address": "::1", "server.port": 8080 }), "http://[::1]:8080"),
            (json!({ "http.host": "h:8080", "net.host.port": 8080 }), "http://h:8080"),
            (
                json!({
                    "http.scheme": "https", "net.host.name": "h", "net.host.port": "8443",
                    "net.peer.name": "client", "net.peer.port": 5,
                }),
                "https://h:8443",
            ),
            (json!({ "net.peer.name": "h", "net.peer.port": 8080 }), "http://h:8080"),
        ] {
            let list = [given.clone(), json!({ "http.method": "GET", "http.target": "/a?b" })];
            let list: Vec<_> = list.into_iter().flat_map(attributes).collect();
            let http = http(&mut Attributes::new(&list), true).unwrap();
            let expected = format!("{origin}/a?b");
            assert_eq!(http.request.url.as_deref(), Some(expected.as_str()), "{given}");
        }
    }

    #[test]
    fn the_peer_of_a_call_is_not_its_client() {
        assert_http(
            json!({ "http.method": "GET", "net.sock.peer.addr": "10.0.0.1" }),
            false,
            json!({ "request": { "method": "GET" } }),
        );
    }

    #[test]
    fn a_path_stays_for_metadata_if_the_url_is_cut() {
        let path = format!("/{}", "x".repeat(245));
        let list = attributes(json!({
            "http.request.method": "GET", "url.path": path, "server.address": "h.example",
        }));
        let mut attributes = Attributes::new(&list);

        let http = http(&mut attributes, true).unwrap();

        assert_eq!(http.request.url.unwrap().len(), 250);
        assert!(attributes.untaken().any(|(key, _)| key == "url.path"));
    }

    #[test]
    fn the_status_sets_the_flags_and_without_one_the_failure() {
        let flags = |error, throttle, fault| Flags { error, throttle, fault };
        assert_eq!(Flags::new(Some(200), true, &[]), flags(false, false, true));
        assert_eq!(Flags::new(Some(404), true, &[]), flags(true, false, false));
        assert_eq!(Flags::new(Some(429), false, &[]), flags(true, true, false));
        assert_eq!(Flags::new(Some(503), true, &[]), flags(false, false, true));
        let throttled = ["busy", "ThrottlingException"];
        assert_eq!(Flags::new(Some(400), true, &throttled), flags(true, true, false));
        assert_eq!(Flags::new(None, true, &throttled), flags(true, true, false));
        assert_eq!(Flags::new(None, true, &["throttled"]), flags(false, false, true));
        assert_eq!(Flags::new(None, false, &throttled), flags(false, false, false));
    }
}
