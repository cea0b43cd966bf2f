//! Adds X-Ray's header of the invocation to received spans, so that another process can place them: those
//! that wait in the spool, and those that `replay` reads from a log.

use memchr::memmem;

use crate::invocation::attempt::TracingHeader;
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, ServerSpan, SignalKind, XRAY_HEADER_KEY};
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
        [server] => registry.header_of_request(&server.request_id, server.ended),
        _ => None,
    };
    let edited = header.and_then(|header| {
        edit::with_resource_attribute(&signal.bytes, XRAY_HEADER_KEY, &header.text)
    });
    Payload { bytes: edited.map_or(signal.bytes, Into::into), ..signal }
}

/// The header of the invocation in which both the first and the last span ended.
fn header_by_time(signal: &Payload, registry: &Registry) -> Option<TracingHeader> {
    let ends = || payload::items(&signal.bytes).filter_map(payload::ended);
    let header = registry.header_at(ends().min()?)?;
    (registry.header_at(ends().max()?).as_ref() == Some(&header)).then_some(header)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use prost::Message;
    use serde_json::json;

    use super::*;
    use crate::otlp::payload::attribute;
    use crate::otlp::wire::nested;

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

    /// The header in the resource of spans that ended at these seconds.
    fn header_of(ends: &[u64]) -> Option<String> {
        let span = |end: &u64| Span { end_time_unix_nano: end * 1_000_000_000, ..Span::default() };
        let spans = ends.iter().map(span).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (signal, servers) = Payload::read(SignalKind::Traces, request.into()).unwrap();
        let edited = with_header(signal, &servers, &registry());
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
}
