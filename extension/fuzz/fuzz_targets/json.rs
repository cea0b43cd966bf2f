//! Whatever JSON says, its translation is refused or passes the check, and its items are counted.
//! Printed and translated again, it is the same message. The first byte chooses the signal.
#![no_main]

use cruddur_telemetry::otlp::{
    json::{to_json, to_protobuf},
    payload::{Payload, SignalKind},
};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message;

/// The bytes of the decoded message, which are equal for equal messages, also with NaN.
fn normal(kind: SignalKind, protobuf: &[u8]) -> Vec<u8> {
    match kind {
        SignalKind::Traces => ExportTraceServiceRequest::decode(protobuf).map(|it| it.encode_to_vec()),
        SignalKind::Logs => ExportLogsServiceRequest::decode(protobuf).map(|it| it.encode_to_vec()),
        _ => ExportMetricsServiceRequest::decode(protobuf).map(|it| it.encode_to_vec()),
    }
    .expect("a request")
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, json)) = input.split_first() else { return };
    let kind = SignalKind::OTLP[usize::from(kind % 3)];
    let schema = kind.schema().expect("a schema");
    let Ok(request) = to_protobuf(schema, json) else { return };
    assert_eq!(request.dropped > 0, request.reason.is_some());
    assert!(request.bytes.len() <= 4 * json.len());
    let (payload, _) = Payload::read(kind, request.bytes.clone().into()).expect("a checked request");
    let items = payload.items;
    assert_eq!(payload.fit("service").iter().map(|part| part.items).sum::<u64>(), items);

    let normal_bytes = normal(kind, &request.bytes);
    let printed = to_json(schema, &normal_bytes);
    let again = to_protobuf(schema, printed.as_bytes()).expect("printed JSON");
    assert!(again.reason.is_none(), "{printed}");
    assert!(normal(kind, &again.bytes) == normal_bytes, "{printed}");
});
