//! Exports whole batches to a UDP socket in the place of the daemon.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::delivery::Exporter;
use crate::delivery::batch::Batch;
use crate::delivery::error::ExportOutcome;
use crate::exporter::xray::acknowledged::AcknowledgedSpans;
use crate::exporter::xray::config::{XrayConfig, XrayTransport};
use crate::exporter::xray::daemon::Daemon;
use crate::exporter::xray::segment::{Segment, SegmentRefusal};
use crate::exporter::xray::segment_export::{ExportRun, acknowledge_part};
use crate::exporter::xray::tests::schema::Schema;
use crate::exporter::xray::tests::{attributes, request, span_id, trace_id};
use crate::exporter::xray::transport::Transport;
use crate::exporter::xray::{AnnotationFilter, SystemTime, Xray};
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};

fn batch(spans: Vec<Span>) -> Batch {
    let (signal, _) = Payload::read(SignalKind::Traces, request(spans).into()).unwrap();
    Batch::of(SignalKind::Traces, [&signal].into_iter()).unwrap()
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

fn xray(undecided: f64, daemon: String, contexts: Option<Registry>) -> Xray {
    let transport = XrayTransport::Daemon(daemon);
    let config = XrayConfig { undecided, annotations: AnnotationFilter::default(), transport };
    Xray::new(config, contexts)
}

/// A transport that is not sent to.
fn unused() -> Transport {
    Transport::Daemon(Daemon::new("127.0.0.1:9".to_owned()))
}

/// Exports to a daemon, and returns the documents that it received.
async fn exported(undecided: f64, spans: Vec<Span>) -> (ExportOutcome, Vec<Value>) {
    let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    let mut xray = xray(undecided, address, Some(Registry::default()));
    let (sent, schema) = (batch(spans), Schema::new());
    let items = sent.items;

    let outcome = xray.export(&sent).await.unwrap();

    let mut documents = Vec::new();
    for _ in 0..items - outcome.unsampled - outcome.rejected {
        let mut datagram = vec![0; 65_536];
        let length = daemon.recv(&mut datagram).await.unwrap();
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        let (header, json) = text.split_once('\n').unwrap();
        assert_eq!(header, r#"{"format": "json", "version": 1}"#);
        assert_eq!(schema.complaints(json), Vec::<String>::new());
        documents.push(serde_json::from_str(json).unwrap());
    }
    (outcome, documents)
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

    let (outcome, documents) = exported(1.0, spans).await;

    assert_eq!((outcome, documents.len()), (ExportOutcome::default(), 8));
}

#[tokio::test]
async fn what_nobody_decided_is_counted_as_unsampled() {
    let (outcome, documents) =
        exported(0.0, vec![span(1, 0, json!({})), span(2, 1, json!({}))]).await;

    assert_eq!((outcome.unsampled, documents.len()), (2, 0));
}

#[tokio::test]
async fn of_spans_from_a_log_those_of_which_nothing_is_known_are_not_taken() {
    let mut xray = xray(0.0, "127.0.0.1:9".to_owned(), None);
    let header =
        json!({ "cruddur.xray_header": "Root=1-00000001-000000000000000000000001;Sampled=0" });

    let outcome = xray.export(&batch(vec![span(1, 0, json!({})), span(2, 0, header)])).await;

    assert_eq!(outcome.unwrap(), ExportOutcome { rejected: 1, unsampled: 1 });
}

#[tokio::test]
async fn the_same_span_twice_is_one_document() {
    let twins = || vec![span(1, 0, json!({})), span(1, 0, json!({})), span(2, 1, json!({}))];
    let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let headers = Some(Registry::default());
    let mut sampled = xray(1.0, daemon.local_addr().unwrap().to_string(), headers.clone());
    let mut unsampled = xray(0.0, "127.0.0.1:9".to_owned(), headers);

    let taken = sampled.export(&batch(twins())).await.unwrap();
    let left_out = unsampled.export(&batch(twins())).await.unwrap();

    assert_eq!(taken, ExportOutcome::default());
    let mut datagram = [0; 10_000];
    for id in ["0101010101010101", "0202020202020202"] {
        let length = daemon.recv(&mut datagram).await.unwrap();
        let text = String::from_utf8_lossy(&datagram[..length]);
        assert!(text.contains(&format!("\"id\":\"{id}\"")), "{text}");
    }
    assert_eq!(left_out, ExportOutcome { rejected: 0, unsampled: 3 });
}

#[tokio::test]
async fn each_refusal_costs_the_spans_of_one_document() {
    let ready = |trace, span, spans| Segment {
        id: (trace_id(trace), span_id(span)),
        json: "{}".to_owned(),
        annotations: 0,
        spans,
    };
    let refusal = |id: Option<&str>| SegmentRefusal {
        id: id.map(str::to_owned),
        code: "InvalidSegment".to_owned(),
        message: String::new(),
    };
    let one = "0000000000000001";
    for (refused, rejected) in [
        (vec![], 0),
        (vec![refusal(Some(one))], 3), // the first of that id, which three spans of the batch are
        (vec![refusal(Some(one)), refusal(Some(one))], 4),
        (vec![refusal(Some(one)), refusal(None), refusal(Some(one))], 5),
        (vec![refusal(Some("ffffffffffffffff")), refusal(Some(one))], 4),
        ((0..9).map(|_| refusal(None)).collect(), 5),
    ] {
        let (mut transport, mut acknowledged) = (unused(), AcknowledgedSpans::default());
        let mut run = ExportRun::new(SystemTime::now(), &mut transport, &mut acknowledged);
        let part = vec![ready(1, 1, 3), ready(2, 1, 1), ready(1, 2, 1)];

        acknowledge_part(part, &refused, &mut run);

        assert_eq!(run.outcome.rejected, rejected, "{refused:?}");
    }
}

#[tokio::test]
async fn a_throttled_document_is_neither_refused_nor_acknowledged() {
    let refusal = |code: &str| SegmentRefusal {
        id: Some("0000000000000001".to_owned()),
        code: code.to_owned(),
        message: String::new(),
    };
    for (code, is_kept) in [
        ("ThrottlingException", true),
        ("Throttled", true),
        ("InternalFailure", true),
        ("ServiceUnavailable", true),
        ("TooManyRequestsException", true),
        ("InvalidSegment", false),
        ("", false),
    ] {
        let (mut transport, mut acknowledged) = (unused(), AcknowledgedSpans::default());
        let mut run = ExportRun::new(SystemTime::now(), &mut transport, &mut acknowledged);
        let ready = |span| Segment {
            id: (trace_id(1), span_id(span)),
            json: "{}".to_owned(),
            annotations: 0,
            spans: 1,
        };

        acknowledge_part(vec![ready(1), ready(2)], &[refusal(code)], &mut run);

        assert_eq!(run.outcome.rejected, u64::from(!is_kept), "{code}");
        let known = |span| acknowledged.get((trace_id(1), span_id(span)));
        assert_eq!(known(1).is_none(), is_kept, "{code}");
        assert!(known(2).is_some_and(|document| !document.is_refused), "{code}");
    }
}

#[tokio::test]
async fn a_throttled_document_without_an_id_leaves_all_unacknowledged() {
    let refusal =
        SegmentRefusal { id: None, code: "ThrottlingException".to_owned(), message: String::new() };
    let (mut transport, mut acknowledged) = (unused(), AcknowledgedSpans::default());
    let mut run = ExportRun::new(SystemTime::now(), &mut transport, &mut acknowledged);
    let id = (trace_id(1), span_id(1));
    let document = Segment { id, json: "{}".to_owned(), annotations: 0, spans: 1 };

    acknowledge_part(vec![document], &[refusal], &mut run);

    assert_eq!(run.outcome.rejected, 0);
    assert!(acknowledged.get(id).is_none());
}

#[tokio::test]
async fn documents_accepted_before_a_failure_are_not_sent_again_and_their_annotations_count() {
    let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    let mut xray = xray(1.0, address, Some(Registry::default()));
    let keys = |prefix: &str| (0..30).map(|n| (format!("app.{prefix}{n}"), json!(n))).collect();
    let (first, second) = (span(1, 0, keys("a")), span(2, 1, keys("b")));
    let mut transport = unused();
    let mut run = ExportRun::new(SystemTime::now(), &mut transport, &mut xray.acknowledged);
    let taken = Segment {
        id: (trace_id(u128::from_be_bytes([1; 16])), span_id(u64::from_be_bytes([1; 8]))),
        json: "{}".to_owned(),
        annotations: 31,
        spans: 1,
    };
    acknowledge_part(vec![taken], &[], &mut run);

    xray.export(&batch(vec![first, second])).await.unwrap();

    let mut datagram = [0; 20_000];
    let length = daemon.recv(&mut datagram).await.unwrap();
    let text = String::from_utf8_lossy(&datagram[..length]);
    let (_, json) = text.split_once('\n').unwrap();
    let document: Value = serde_json::from_str(json).unwrap();
    assert_eq!(document["id"], "02".repeat(8));
    assert_eq!(document["annotations"].as_object().unwrap().len(), 19);
}
