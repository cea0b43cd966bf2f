//! A batch as a whole, against a daemon that is a socket of the test's own.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::{attributes, schema::Schema};
use crate::{
    batch::Batch,
    config,
    exporter::{
        Receipt,
        xray::{Wanted, Xray},
    },
    signal::{Kind, Signal},
    trace_headers::TraceHeaders,
};

fn batch(spans: Vec<Span>) -> Batch {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let (signal, _) = Signal::read(Kind::Traces, bytes.into()).unwrap();
    Batch::of(Kind::Traces, [&signal].into_iter()).unwrap()
}

fn span(id: u8, parent: u8, attributes_json: Value) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        attributes: attributes(attributes_json),
        ..Span::default()
    }
}

/// The documents that a daemon gets of a batch.
async fn exported(undecided: f64, spans: Vec<Span>) -> (Receipt, Vec<Value>) {
    let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    let config = config::Xray { undecided, annotations: Wanted::default(), daemon: Some(address) };
    let mut xray = Xray::new(config, TraceHeaders::default());
    let (sent, schema) = (batch(spans), Schema::new());
    let items = sent.items;

    let receipt = xray.export(&sent).await.unwrap();

    let mut documents = Vec::new();
    for _ in 0..items - receipt.unsampled - receipt.rejected {
        let mut datagram = vec![0; 65_536];
        let length = daemon.recv(&mut datagram).await.unwrap();
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        let (header, json) = text.split_once('\n').unwrap();
        assert_eq!(header, r#"{"format": "json", "version": 1}"#);
        assert_eq!(schema.complaints(json), Vec::<String>::new());
        documents.push(serde_json::from_str(json).unwrap());
    }
    (receipt, documents)
}

#[tokio::test]
async fn a_trace_has_50_annotations_and_its_entry_spans_come_first() {
    let child = |id| span(id, 100, (0..30).map(|n| (format!("app.{n}"), json!(n))).collect());
    let mut spans: Vec<Span> = (1..=5).map(child).collect();
    spans.push(span(100, 0, json!({ "app.name": "cruddur" })));

    let (_, documents) = exported(1.0, spans).await;

    assert_eq!(documents[0]["annotations"]["app"], "cruddur");
    assert_eq!(documents[0]["annotations"]["w3c_trace_id"], "01".repeat(16));
    let count = |document: &Value| document["annotations"].as_object().map_or(0, |it| it.len());
    assert_eq!(documents.iter().map(count).collect::<Vec<_>>(), [2, 30, 18, 0, 0, 0]);
}

#[tokio::test]
async fn bad_spans_cost_a_batch_nothing() {
    let good = span(1, 0, json!({}));
    let spans = vec![
        Span { span_id: vec![0; 8], ..good.clone() },
        Span { span_id: vec![1; 3], trace_id: vec![], ..good.clone() },
        Span {
            start_time_unix_nano: 9,
            end_time_unix_nano: 1,
            span_id: vec![2; 8],
            ..good.clone()
        },
        Span { span_id: vec![3; 8], parent_span_id: vec![4; 8], ..good.clone() },
        Span { span_id: vec![4; 8], parent_span_id: vec![3; 8], ..good.clone() },
        Span { name: "{\u{0}}".to_owned(), span_id: vec![5; 8], ..good.clone() },
        span(6, 0, json!({ "x": "y".repeat(1 << 20) })),
        good,
    ];

    let (receipt, documents) = exported(1.0, spans).await;

    assert_eq!((receipt, documents.len()), (Receipt::default(), 8));
}

#[tokio::test]
async fn what_nobody_decided_is_counted_as_unsampled() {
    let (receipt, documents) =
        exported(0.0, vec![span(1, 0, json!({})), span(2, 1, json!({}))]).await;

    assert_eq!((receipt.unsampled, documents.len()), (2, 0));
}
