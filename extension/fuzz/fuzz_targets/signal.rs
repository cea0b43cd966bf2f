//! What is counted, added and cut in a received request of spans is what a full decoder sees.
#![no_main]

use bytes::Bytes;
use cruddur_telemetry::{
    otlp::payload::{SignalKind, Payload, only_sampled},
    otlp::edit::{by_resource, regroup},
};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
};
use prost::Message;

fn spans(request: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(request).expect("a request");
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn all_spans<'a>(requests: impl IntoIterator<Item = &'a [u8]>) -> Vec<Span> {
    requests.into_iter().flat_map(spans).collect()
}

fuzz_target!(|input: &[u8]| {
    let Ok((signal, _)) = Payload::read(SignalKind::Traces, Bytes::copy_from_slice(input)) else { return };
    let sent = spans(input);
    assert_eq!(signal.items as usize, sent.len());

    let parts = regroup(input, 64, |_| true);
    assert!(all_spans(parts.iter().map(Vec::as_slice)) == sent);
    let parts: Vec<_> = by_resource(input).collect();
    assert!(all_spans(parts.iter().map(Vec::as_slice)) == sent);
    if let Some((kept, left_out)) = only_sampled(input) {
        assert_eq!(spans(&kept).len() + left_out as usize, sent.len());
    }
    let fit = signal.fit("service");
    assert!(all_spans(fit.iter().map(|signal| &signal.bytes[..])) == sent);
});
