//! Adds X-Ray's header of the invocation to received spans, so that another process can place them: those
//! that wait in the spool, and those that `replay` reads from a log.

use memchr::memmem;
use trace_context::TraceId;

use crate::invocation::attempt::TracingHeader;
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, ServerSpan, SignalKind, XRAY_HEADER_KEY};
use crate::otlp::wire::nested;
use crate::otlp::{edit, payload};

/// Leaves a payload as it is if a span carries a header, as those of our SDK do, or if the payload holds
/// spans of several invocations.
pub fn with_header(signal: Payload, servers: &[ServerSpan], registry: &Registry) -> Payload {
    if signal.kind != SignalKind::Traces
        || memmem::find(&signal.bytes, XRAY_HEADER_KEY.as_bytes()).is_some()
    {
        return signal;
    }
    let header = match servers {
        [] => header_by_time(&signal, registry),
        [server] => header_by_server(&signal, server, registry),
        _ => None,
    };
    let edited = header.and_then(|header| {
        edit::with_resource_attribute(&signal.bytes, XRAY_HEADER_KEY, &header.text)
    });
    Payload { bytes: edited.map_or(signal.bytes, Into::into), ..signal }
}

/// The header of the server span's invocation, if all spans are of it: by their request id, by their time
/// or, where several invocations run at once, by their trace.
fn header_by_server(
    signal: &Payload,
    server: &ServerSpan,
    registry: &Registry,
) -> Option<TracingHeader> {
    let header = registry.header_of_request(&server.request_id, server.ended)?;
    let trace_id = server.trace_id.map(TraceId::to_bytes);
    let is_its = |span: &[u8]| {
        let at_end = || registry.header_at(payload::ended(span)?);
        payload::request_id(span, 9) == Some(server.request_id.as_bytes())
            || match at_end() {
                Some(at_end) => at_end == header,
                None => nested(span, 1).last() == trace_id.as_ref().map(|id| &id[..]),
            }
    };
    own_spans(signal).all(is_its).then_some(header)
}

/// The header of the invocation in which both the first and the last span ended.
fn header_by_time(signal: &Payload, registry: &Registry) -> Option<TracingHeader> {
    let ends = || own_spans(signal).filter_map(payload::ended);
    let header = registry.header_at(ends().min()?)?;
    (registry.header_at(ends().max()?).as_ref() == Some(&header)).then_some(header)
}

/// The spans that the function does not forward for another program.
fn own_spans(signal: &Payload) -> impl Iterator<Item = &[u8]> {
    let resources = nested(&signal.bytes, 1).filter(|it| !payload::is_forwarded(it));
    resources.flat_map(|it| nested(it, 2)).flat_map(|scope| nested(scope, 2))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value::Value},
        trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
    };
    use prost::Message;
    use serde_json::json;

    use super::*;
    use crate::lambda::telemetry_event::{PlatformEvent, RawEvent};
    use crate::otlp::payload::attribute;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    /// Two invocations, from the 10th and the 20th second on.
    fn registry() -> Registry {
        let registry = Registry::default();
        for (request_id, second, header) in [("a", 10, HEADER), ("b", 20, "Root=1-5759e988-0")] {
            let event = json!({ "requestId": request_id, "tracing": { "value": header } });
            registry.on_invoke(&serde_json::from_value(event).unwrap(), at(second));
        }
        registry
    }

    /// A span of the trace `trace` that ended at this second.
    fn span(trace: u8, end: u64) -> Span {
        let end_time_unix_nano = end * 1_000_000_000;
        Span { trace_id: vec![trace; 16], end_time_unix_nano, ..Span::default() }
    }

    fn server(request_id: &str, span: Span) -> Span {
        let value = Some(AnyValue { value: Some(Value::StringValue(request_id.to_owned())) });
        let key = "faas.invocation_id".to_owned();
        let attributes = vec![KeyValue { key, value, ..KeyValue::default() }];
        Span { kind: SpanKind::Server as i32, attributes, ..span }
    }

    /// The header in the resource of spans of one trace that ended at these seconds.
    fn header_of(ends: &[u64]) -> Option<String> {
        header_in(&registry(), ends.iter().map(|end| span(1, *end)).collect())
    }

    fn header_in(registry: &Registry, spans: Vec<Span>) -> Option<String> {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (signal, servers) = Payload::read(SignalKind::Traces, request.into()).unwrap();
        let edited = with_header(signal, &servers, registry);
        let resource_spans = nested(&edited.bytes, 1).next()?;
        let mut resources = nested(resource_spans, 1);
        let header = resources.find_map(|it| attribute(it, 1, XRAY_HEADER_KEY.as_bytes()))?;
        Some(String::from_utf8(header.to_vec()).unwrap())
    }

    #[test]
    fn spans_of_one_invocation_get_its_header_and_those_of_two_get_none() {
        assert_eq!(header_of(&[12, 15]).as_deref(), Some(HEADER));
        assert_eq!(header_of(&[12, 25]), None);
        assert_eq!(header_of(&[25]), None, "its header is not valid");
        assert_eq!(header_of(&[5]), None, "no invocation had begun");
        assert_eq!(header_of(&[0]), None, "no time");
    }

    #[test]
    fn spans_beside_a_server_span_get_its_header_if_they_are_of_its_invocation() {
        const OTHER: &str = "Root=1-5759e988-bd862e3fe1be46a994272794;Sampled=0";
        let registry = registry();
        let invoke = json!({ "requestId": "c", "tracing": { "value": OTHER } });
        registry.on_invoke(&serde_json::from_value(invoke).unwrap(), at(30));
        let beside = |other: Span| header_in(&registry, vec![other, server("c", span(1, 35))]);

        assert_eq!(beside(span(1, 33)).as_deref(), Some(OTHER));
        assert_eq!(beside(span(2, 33)).as_deref(), Some(OTHER), "another trace in its time");
        assert_eq!(beside(span(1, 15)), None, "of the invocation before, in a caller's trace");
    }

    #[test]
    fn where_several_run_at_once_the_trace_shows_the_spans_of_a_server_span() {
        let registry = Registry::default();
        let record = json!({ "requestId": "a", "tracing": { "value": HEADER } }).to_string();
        let event = RawEvent { time: at(10), kind: "platform.start".into(), record: &record };
        registry.on_platform_event(&PlatformEvent::read(&event));
        let beside = |other: Span| header_in(&registry, vec![server("a", span(1, 12)), other]);

        assert_eq!(beside(span(1, 11)).as_deref(), Some(HEADER));
        assert_eq!(beside(span(2, 11)), None);
    }
}
