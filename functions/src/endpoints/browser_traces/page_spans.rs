//! Spans of the page: read, checked, and without attributes that only a function may set.
//!
//! Anyone can send such spans. The extension would act on some of their parts: a SERVER span with
//! an invocation's id ends that invocation, `cruddur.xray_header` names its place in X-Ray, and
//! `rollbar.message` makes an item at Rollbar. [`sanitize`] removes these parts and all others that
//! a page does not need.

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message;

use super::{clock, sanitize};

/// The page's `service.name`, as the original's front end calls itself.
pub(super) const SERVICE_NAME: &str = "frontend-react-js";

/// Marks a resource whose spans come from the page: the extension must not take them for spans of
/// the invocation that passes them on.
const SOURCE: (&str, &str) = ("cruddur.source", "page");

/// Most spans of a request. A page load has some dozens.
pub(super) const MAX_SPANS: usize = 100;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

/// Why spans of a page are refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadTraces {
    /// Not an OTLP request. The decoder's message is left out because it may quote the body.
    #[error("no OTLP request")]
    Malformed,
    /// A span without a name, with ids of another length or of zeros, or that ends before it starts.
    #[error("a span without a name, a valid id or valid times")]
    BadSpan,
    /// Spans that no page load could hold together.
    #[error("spans more than a day apart")]
    FarApart,
    /// A flood.
    #[error("{0} spans, {MAX_SPANS} are allowed")]
    TooMany(usize),
}

/// Reads an OTLP request, which afterwards is one of the service [`SERVICE_NAME`], and holds
/// nothing but spans.
pub(super) fn read(
    encoding: Encoding,
    body: &[u8],
    now: Timestamp,
) -> Result<ExportTraceServiceRequest, BadTraces> {
    let mut request = match encoding {
        // serde reads an array as the fields of a struct in their order.
        Encoding::Json if body.trim_ascii_start().starts_with(b"[") => {
            return Err(BadTraces::Malformed);
        }
        Encoding::Json => serde_json::from_slice(body).map_err(|_| BadTraces::Malformed)?,
        Encoding::Protobuf => {
            ExportTraceServiceRequest::decode(body).map_err(|_| BadTraces::Malformed)?
        }
    };
    let spans = spans_mut(&mut request).count();
    if spans > MAX_SPANS {
        return Err(BadTraces::TooMany(spans));
    }
    if !spans_mut(&mut request).all(|span| is_valid(span)) {
        return Err(BadTraces::BadSpan);
    }
    spans_mut(&mut request).for_each(sanitize::clean_span);
    let now = u64::try_from(now.as_nanosecond()).unwrap_or_default();
    if !clock::correct(&mut spans_mut(&mut request).collect::<Vec<_>>(), now) {
        return Err(BadTraces::FarApart);
    }
    // Before each gets a name: there may be thousands without a span.
    request.resource_spans.retain_mut(|resource_spans| {
        resource_spans.scope_spans.retain(|scope| !scope.spans.is_empty());
        !resource_spans.scope_spans.is_empty()
    });
    for resource_spans in &mut request.resource_spans {
        resource_spans.schema_url.clear();
        name(resource_spans.resource.get_or_insert_default());
        for scope_spans in &mut resource_spans.scope_spans {
            scope_spans.schema_url.clear();
            scope_spans.scope.iter_mut().for_each(sanitize::clean_scope);
        }
    }
    Ok(request)
}

/// How many spans there are.
pub(super) fn count(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

fn spans_mut(request: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut Span> {
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

fn is_valid(span: &Span) -> bool {
    let is_id = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
    is_id(&span.trace_id, 16)
        && is_id(&span.span_id, 8)
        && (span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8))
        && !span.name.trim().is_empty()
        && clock::is_ordered(span)
}

fn name(resource: &mut Resource) {
    const NAME: (&str, &str) = ("service.name", SERVICE_NAME);
    sanitize::clean_resource(&mut resource.attributes);
    resource.attributes.extend([NAME, SOURCE].map(|(key, value)| {
        let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }));
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{
        ResourceSpans, ScopeSpans,
        span::{Event, Link, SpanKind},
    };
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(encoding: Encoding, body: &[u8]) -> Result<ExportTraceServiceRequest, BadTraces> {
        super::read(encoding, body, "2026-11-20T09:48:00Z".parse().unwrap())
    }

    fn span() -> Span {
        Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "documentLoad".to_owned(),
            ..Span::default()
        }
    }

    fn body(spans: Vec<Span>) -> Vec<u8> {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn attribute(key: &str) -> KeyValue {
        KeyValue { key: key.to_owned(), ..KeyValue::default() }
    }

    #[test]
    fn signals_of_a_function_and_unknown_attributes_are_removed_and_known_ones_stay() {
        let hostile = Span {
            kind: SpanKind::Server as i32,
            attributes: [
                "faas.invocation_id",
                "cruddur.xray_header",
                "app.user_id",
                "http.route",
                "error",
                "name-7",
                "http.url",
                "http.url",
            ]
            .map(attribute)
            .to_vec(),
            links: vec![Link::default()],
            events: ["rollbar.message", "exception"]
                .map(|name| Event { name: name.to_owned(), ..Event::default() })
                .to_vec(),
            ..span()
        };

        let mut request = read(Encoding::Protobuf, &body(vec![hostile])).unwrap();

        let span = spans_mut(&mut request).next().unwrap();
        assert_eq!(span.kind, SpanKind::Internal as i32);
        assert_eq!(span.attributes, [attribute("http.url")]);
        assert!(span.links.is_empty());
        assert_eq!(span.events.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["exception"]);
    }

    #[test]
    fn the_service_is_the_page_whatever_it_calls_itself() {
        let json = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "home-activities"}},
                {"key": "browser.language", "value": {"stringValue": "en"}},
                {"key": "faas.name", "value": {"stringValue": "home-activities"}},
                {"key": "cruddur.source", "value": {"stringValue": "function"}},
            ]},
            "scopeSpans": [{"spans": [{
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "b7ad6b7169203331",
                "name": "HTTP GET",
                "kind": 3,
                "startTimeUnixNano": "1795168080000000000",
                "endTimeUnixNano": "1795168081000000000",
                // As the web SDK writes them: numbers as numbers, lists though they are empty.
                "attributes": [
                    {"key": "http.status_code", "value": {"intValue": 200}},
                    {"key": "ratio", "value": {"doubleValue": 1.5}},
                    {"key": "tags", "value": {"arrayValue": {"values": [{"boolValue": true}]}}},
                ],
                "droppedAttributesCount": 0,
                "events": [{
                    "attributes": [],
                    "name": "fetchStart",
                    "timeUnixNano": "1795168080264683000",
                    "droppedAttributesCount": 0,
                }],
                "status": {"code": 0},
                "links": [],
                "flags": 257,
            }]}],
        }]});

        let request = read(Encoding::Json, json.to_string().as_bytes()).unwrap();

        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let named: Vec<_> = resource.attributes.iter().map(|attribute| &*attribute.key).collect();
        assert_eq!(named, ["browser.language", "service.name", "cruddur.source"]);
        assert!(format!("{:?}", resource.attributes[1]).contains(SERVICE_NAME));
        assert!(format!("{:?}", resource.attributes[2]).contains("\"page\""));
        assert_eq!(count(&request), 1);
    }

    #[test]
    fn texts_are_cut_and_what_a_user_searched_for_is_masked() {
        let long = "x".repeat(5_000);
        let json = json!({"resourceSpans": [{"scopeSpans": [{
            "scope": {"name": long, "attributes": [{"key": "a", "value": {"intValue": 1}}]},
            "spans": [{
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "b7ad6b7169203331",
                "name": long,
                "traceState": long,
                "status": {"code": 2, "message": long},
                "attributes": [
                    {"key": "http.url", "value": {"stringValue": "https://x/search?term=secret&limit=2#secret"}},
                    {"key": "url.query", "value": {"stringValue": "term=secret"}},
                    {"key": "http.user_agent", "value": {"stringValue": long}},
                    {"key": "http.host", "value": {"kvlistValue": {"values": []}}},
                ],
                "events": vec![json!({"name": long}); 100],
            }],
        }]}]});

        let request = read(Encoding::Json, json.to_string().as_bytes()).unwrap();

        let text = format!("{request:?}");
        assert!(!text.contains("secret") && text.contains("?term=REDACTED&limit=2\""), "{text}");
        assert!(!text.contains(&"x".repeat(1_025)), "{text}");
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((span.attributes.len(), span.events.len()), (3, 32));
        assert_eq!(span.trace_state, "");
    }

    #[test]
    fn spans_that_are_none_are_refused() {
        for bad in [
            Span { trace_id: vec![0; 16], ..span() },
            Span { trace_id: vec![1; 15], ..span() },
            Span { span_id: Vec::new(), ..span() },
            Span { parent_span_id: vec![1], ..span() },
            Span { name: " ".to_owned(), ..span() },
            Span { start_time_unix_nano: 2, end_time_unix_nano: 1, ..span() },
        ] {
            let refused = read(Encoding::Protobuf, &body(vec![span(), bad.clone()]));
            assert!(matches!(refused, Err(BadTraces::BadSpan)), "{bad:?}");
        }
        let flood = read(Encoding::Protobuf, &body(vec![span(); MAX_SPANS + 1]));
        assert!(matches!(flood, Err(BadTraces::TooMany(101))));
        assert!(read(Encoding::Protobuf, &body(vec![span(); MAX_SPANS])).is_ok());
    }

    #[test]
    fn what_has_no_span_is_left_out_so_that_a_small_request_stays_small() {
        let empty = [0x0a, 0x02, 0x12, 0x00].repeat(16_000); // resources with an empty scope each
        let request = read(Encoding::Protobuf, &[empty, body(vec![span()])].concat()).unwrap();

        assert_eq!((request.resource_spans.len(), count(&request)), (1, 1));
        assert!(request.encoded_len() < 1_000, "{}", request.encoded_len());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(body: Vec<u8>, text: String) {
            let _ = read(Encoding::Protobuf, &body);
            let _ = read(Encoding::Json, &body);
            prop_assert!(read(Encoding::Json, text.as_bytes()).is_err());
        }
    }
}
