//! Whatever the Telemetry API delivers, the spans made of it are requests.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use cruddur_telemetry::{
    invocation::registry::Registry,
    lambda::telemetry_event::{PlatformEvent, RawEvent},
    processor::platform_spans::PlatformSpans,
    otlp::payload::{SignalKind, ServerSpan, Payload},
};
use libfuzzer_sys::fuzz_target;
use trace_context::{SpanId, TraceId};

fuzz_target!(|input: &[u8]| {
    let json = String::from_utf8_lossy(input);
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let Ok(events) = RawEvent::read_all(&json, now) else { return };
    let registry = Registry::default();
    let mut platform = PlatformSpans::new("function".to_owned(), Vec::new(), registry.clone());
    let server = ServerSpan {
        request_id: "r".to_owned(),
        trace_id: TraceId::from_bytes([1; 16]),
        span_id: SpanId::from_bytes([1; 8]),
        is_sampled: true,
        failed: false,
        ended: None,
        is_last_word: false,
        filtered_at: Default::default(),
    };
    let attempt = registry.on_server_span(&server, now);
    let spans = attempt.and_then(|attempt| platform.on_server_span(attempt));
    let mut signals: Vec<Payload> = spans.into_iter().collect();
    for event in events.iter().map(PlatformEvent::read) {
        let attempt = registry.on_platform_event(&event);
        signals.extend(platform.event(event, attempt));
    }
    for signal in signals {
        let (read, _) = Payload::read(SignalKind::Traces, signal.bytes).expect("a request");
        assert_eq!(read.items, signal.items);
    }
});
