use opentelemetry_proto::tonic::trace::v1::{Span, span::Link};
use prost::Message;
use serde_json::json;

use super::*;
use crate::exporter::xray::placement::{PlacedBatch, Placer};
use crate::exporter::xray::tests::{attributes, request, span_id, trace_id};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// The span as it is written for this place.
fn rewritten(span: &Span, place: SegmentPlace) -> Span {
    let request = request(vec![span.clone()]);
    let PlacedBatch { spans, .. } = Placer::new(None, 1.0).place(&request, NOW);
    let mut out = Vec::new();
    push_span(&mut out, &spans[0], &place, NOW);
    Span::decode(&*out).unwrap()
}

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "a=b".to_owned(),
        name: "GET /".to_owned(),
        start_time_unix_nano: 5,
        end_time_unix_nano: 9,
        attributes: attributes(json!({ "a": "b", "n": 1 })),
        links: vec![Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Link::default() }],
        ..Span::default()
    }
}

#[test]
fn ids_and_parent_are_replaced_and_all_else_stays() {
    let place =
        |parent| SegmentPlace { trace_id: trace_id(7), id: span_id(8), parent, entry: None };
    for old_parent in [vec![], vec![3; 8]] {
        for (flags, expected_flags) in [(0, 0), (0x101, 0x101), (0x300, 0x301)] {
            let given = Span { parent_span_id: old_parent.clone(), flags, ..span() };

            let inner = rewritten(&given, place(Some(span_id(9))));
            let root = rewritten(&given, place(None));

            let expected = Span {
                trace_id: 7_u128.to_be_bytes().to_vec(),
                span_id: 8_u64.to_be_bytes().to_vec(),
                parent_span_id: 9_u64.to_be_bytes().to_vec(),
                flags: expected_flags,
                ..span()
            };
            assert_eq!(inner, expected);
            assert_eq!(root, Span { parent_span_id: Vec::new(), ..expected });
        }
    }
}

#[test]
fn an_entry_span_carries_the_id_of_its_trace_elsewhere() {
    let entry = Some(trace_id(3));
    let place = SegmentPlace { trace_id: trace_id(7), id: span_id(8), parent: None, entry };

    let written = rewritten(&span(), place);

    let mut expected = span().attributes;
    expected.extend(attributes(json!({ "w3c_trace_id": trace_id(3).to_string() })));
    assert_eq!(written.attributes, expected);
}

#[test]
fn a_span_without_times_gets_valid_ones() {
    let place = SegmentPlace { trace_id: trace_id(7), id: span_id(8), parent: None, entry: None };
    for (start, end, expected) in [(0, 9, (9, 9)), (5, 0, (5, 5)), (9, 5, (9, 9))] {
        let given =
            Span { start_time_unix_nano: start, end_time_unix_nano: end, flags: 0x100, ..span() };

        let written = rewritten(&given, place);

        let times = (written.start_time_unix_nano, written.end_time_unix_nano);
        assert_eq!((times, written.flags), (expected, 0x101));
    }
}
