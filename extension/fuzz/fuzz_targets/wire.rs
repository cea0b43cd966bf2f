//! The check on the wire accepts exactly what a full decoder accepts.
//!
//! The first byte chooses the request.
#![no_main]

use cruddur_telemetry::otlp::{
    schema::{LOGS_REQUEST, METRICS_REQUEST, TRACES_REQUEST},
    wire::check,
};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message;

fuzz_target!(|input: &[u8]| {
    let Some((kind, message)) = input.split_first() else { return };
    let (schema, decodes) = match kind % 3 {
        0 => (&TRACES_REQUEST, ExportTraceServiceRequest::decode(message).is_ok()),
        1 => (&LOGS_REQUEST, ExportLogsServiceRequest::decode(message).is_ok()),
        _ => (&METRICS_REQUEST, ExportMetricsServiceRequest::decode(message).is_ok()),
    };
    let checked = check(schema, message);
    assert_eq!(checked.is_ok(), decodes, "{checked:?}");
});
