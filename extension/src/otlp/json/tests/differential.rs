//! The translation beside Python's protobuf runtime, on random requests in every form of ProtoJSON.

use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message;

use crate::otlp::json::{to_json, to_protobuf};
use crate::otlp::schema::{LOGS_REQUEST, METRICS_REQUEST, Schema, TRACES_REQUEST};

const SEED: &str = "1";
/// Requests of each signal. Python needs 4 ms for each.
const COUNT: usize = 150;

/// The bytes of the decoded message, which are equal for equal messages, also with NaN.
fn normal<T: Message + Default>(protobuf: &[u8]) -> Vec<u8> {
    T::decode(protobuf).unwrap().encode_to_vec()
}

type Normal = fn(&[u8]) -> Vec<u8>;

/// The schema of a signal, and its [`normal`].
fn signal(name: &str) -> (&'static Schema, Normal) {
    match name {
        "traces" => (&TRACES_REQUEST, normal::<ExportTraceServiceRequest>),
        "logs" => (&LOGS_REQUEST, normal::<ExportLogsServiceRequest>),
        _ => (&METRICS_REQUEST, normal::<ExportMetricsServiceRequest>),
    }
}

#[test]
fn every_form_of_proto_json_is_translated_as_pythons_runtime_does_and_printed_without_a_loss() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let generated = Command::new(format!("{root}/.venv/bin/python3"))
        .args([&format!("{root}/tests/otlp_json.py"), SEED, &COUNT.to_string()])
        .output()
        .expect("Python, which `make test` installs");
    assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));

    let lines = String::from_utf8(generated.stdout).unwrap();
    assert_eq!(lines.lines().count(), 3 * COUNT);
    for line in lines.lines() {
        let mut parts = line.split('\t');
        let (schema, normal) = signal(parts.next().unwrap());
        let [json, expected] =
            [parts.next(), parts.next()].map(|part| BASE64_STANDARD.decode(part.unwrap()).unwrap());
        let text = String::from_utf8_lossy(&json);

        let translated =
            to_protobuf(schema, &json).unwrap_or_else(|error| panic!("{error}: {text}"));

        assert_eq!(translated.reason, None, "{text}");
        let printed = to_json(schema, &translated.bytes);
        assert!(normal(&translated.bytes) == normal(&expected), "{text}\nbecame {printed}");
        let again = to_protobuf(schema, printed.as_bytes()).unwrap();
        assert!(normal(&again.bytes) == normal(&expected), "{text}\nwas printed as {printed}");
        assert!(serde_json::from_str::<serde_json::Value>(&printed).is_ok(), "{printed}");
    }
}
