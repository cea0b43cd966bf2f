use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

use super::*;
use crate::config::Config;
use crate::delivery::DestinationSpec;
use crate::otlp::failure_codec;
use crate::otlp::line_codec::{LinePayloads, LogLine};
use crate::otlp::payload::{Payload, SignalKind};

fn exporters() -> Vec<Box<dyn Exporter>> {
    let nowhere = "http://127.0.0.1:9";
    let all: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    let all = all.join(",");
    let variables = [
        ("CRUDDUR_EXPORTERS", all.as_str()),
        ("HONEYCOMB_API_KEY", "key"),
        ("CRUDDUR_OTLP_ENDPOINT", nowhere),
        ("HONEYCOMB_API_ENDPOINT", nowhere),
        ("CRUDDUR_XRAY_UNDECIDED", "1"),
        ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:9"),
        ("AWS_REGION", "us-east-1"),
        ("CRUDDUR_LOG_GROUP", "group"),
        ("ROLLBAR_ACCESS_TOKEN", "token"),
        ("ROLLBAR_ENDPOINT", nowhere),
    ];
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, it)| *it);
    let (config, errors) = Config::from_vars(|name| value(name).map(str::to_owned));
    assert_eq!(errors, []);
    config.exporters(None)
}

fn payloads() -> Vec<Payload> {
    let spans = vec![Span { name: "shown".into(), trace_id: vec![1; 16], ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let traces = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    let log_records = vec![LogRecord { event_name: "shown".into(), ..LogRecord::default() }];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let logs = ExportLogsServiceRequest { resource_logs }.encode_to_vec().into();
    let mut lines = LinePayloads::default();
    lines.push(LogLine { time_ms: 1, json: r#"{"message":"shown"}"# }, false);
    let mut payloads = lines.finish();
    payloads.push(Payload::read(SignalKind::Traces, traces).unwrap().0);
    payloads.push(Payload::read(SignalKind::Logs, logs).unwrap().0);
    payloads.push(failure_codec::signal("id 1 {\"shown\":1}\n".to_owned().into()));
    payloads
}

#[test]
fn every_exporter_previews_the_payloads_of_its_signals() {
    for exporter in exporters() {
        let DestinationSpec { name, kinds, .. } = exporter.spec();
        for payload in payloads().iter().filter(|payload| kinds.contains(&payload.kind)) {
            for _ in 0..2 {
                let documents = exporter.preview(payload).unwrap();

                let [document] = &documents[..] else { panic!("{name}: {documents:?}") };
                assert!(document.contains("shown"), "{name}: {document}");
            }
        }
    }
}

#[test]
fn every_exporter_has_a_name_and_no_variable_is_declared_twice() {
    let names: Vec<_> = exporters().iter().map(|exporter| exporter.spec().name).collect();
    assert!(names.iter().eq(KINDS.iter().map(|kind| &kind.name)), "{names:?}");

    let mut variables: Vec<_> = crate::config::variables::all().map(|it| it.name).collect();
    variables.sort_unstable();
    assert!(variables.windows(2).all(|pair| pair[0] != pair[1]), "{variables:?}");
}
