use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::json;

use super::*;
use crate::exporter::xray::acknowledged::AcknowledgedSpan;
use crate::exporter::xray::placement::Placer;
use crate::exporter::xray::tests::{attributes, request};
use crate::invocation::registry::Registry;

const HOUR: u64 = 3_600_000_000_000;
/// Noon of a day, in nanoseconds since the epoch.
const NOON: u64 = (20_000 * 24 + 12) * HOUR;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(NOON)
}

fn span(id: u64, end: u64) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: "a span".to_owned(),
        start_time_unix_nano: end - 1,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

fn with_text(bytes: usize, span: Span) -> Span {
    Span { attributes: attributes(json!({ "text": "x".repeat(bytes) })), ..span }
}

fn cut_request(request: &[u8], known: &AcknowledgedSpans) -> CutBatch {
    cut(&Placer::new(Some(Registry::default()), 1.0).place(request, now()), known)
}

fn cut_spans(spans: Vec<Span>) -> CutBatch {
    cut_request(&request(spans), &AcknowledgedSpans::default())
}

/// The ids of the spans in each call.
fn ids(cut: &CutBatch) -> Vec<Vec<u64>> {
    let id = |span: &Span| u64::from_be_bytes(span.span_id.clone().try_into().unwrap());
    cut.calls.iter().map(|call| decode(call).iter().map(id).collect()).collect()
}

fn decode(call: &OtlpCall) -> Vec<Span> {
    assert!(call.items.is_empty() && call.body.len() <= MAX_CALL_BYTES);
    let request = ExportTraceServiceRequest::decode(&*call.body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
    let spans: Vec<_> = scopes.flat_map(|scope| scope.spans).collect();
    assert_eq!(spans.len(), call.ids.len());
    spans
}

#[test]
fn spans_keep_their_resource_and_scope_and_are_one_call() {
    let scope = |name: &str| InstrumentationScope { name: name.to_owned(), ..Default::default() };
    let resource_spans = |name: &str, ids: [u64; 2]| ResourceSpans {
        resource: Some(Resource {
            attributes: attributes(json!({ "service.name": name })),
            ..Resource::default()
        }),
        scope_spans: ids
            .map(|id| ScopeSpans {
                scope: Some(scope(&format!("{name} {id}"))),
                spans: vec![span(id, NOON)],
                schema_url: "url".to_owned(),
            })
            .to_vec(),
        schema_url: "url".to_owned(),
    };
    let given = ExportTraceServiceRequest {
        resource_spans: vec![resource_spans("a", [1, 2]), resource_spans("b", [3, 4])],
    };

    let cut = cut_request(&given.encode_to_vec(), &AcknowledgedSpans::default());

    assert_eq!(ids(&cut), [[1, 2, 3, 4]]);
    let sent = ExportTraceServiceRequest::decode(&*cut.calls[0].body).unwrap();
    let places = |request: &ExportTraceServiceRequest| -> Vec<_> {
        let of = |it: &ResourceSpans| {
            let (resource, url) = (it.resource.clone(), it.schema_url.clone());
            let scopes = it.scope_spans.iter().map(move |scope| {
                let id = scope.spans[0].span_id.clone();
                (resource.clone(), url.clone(), scope.scope.clone(), scope.schema_url.clone(), id)
            });
            scopes.collect::<Vec<_>>()
        };
        request.resource_spans.iter().flat_map(of).collect()
    };
    assert_eq!(places(&sent), places(&given));
}

#[test]
fn a_call_has_at_most_ten_thousand_spans_and_five_megabytes() {
    let many = cut_spans((1..=10_001).map(|id| span(id, NOON)).collect());
    let large = cut_spans((1..=60).map(|id| with_text(190_000, span(id, NOON))).collect());

    let counts = |cut: &CutBatch| ids(cut).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(counts(&many), [10_000, 1]);
    assert_eq!(counts(&large), [26, 26, 8]);
}

#[test]
fn spans_of_three_days_are_calls_of_half_a_day_each() {
    let ends = [NOON, NOON - 1, NOON - 24 * HOUR, NOON - 49 * HOUR, NOON - 12 * HOUR, NOON + 1];

    let cut = cut_spans(ends.iter().zip(1..).map(|(end, id)| span(id, *end)).collect());

    assert_eq!(ids(&cut), [vec![1, 6], vec![2, 5], vec![3], vec![4]]);
    assert_eq!(cut.rejected, 0);
}

#[test]
fn spans_that_are_too_old_or_too_new_are_dropped_and_counted() {
    let ends = [14 * 24 * HOUR - HOUR, 14 * 24 * HOUR, 30 * 24 * HOUR].map(|age| NOON - age);
    let ahead = [2 * HOUR, 2 * HOUR + 1].map(|ahead| NOON + ahead);
    let ends = ends.into_iter().chain(ahead);

    let cut = cut_spans(ends.zip(1..).map(|(end, id)| span(id, end)).collect());

    assert_eq!(ids(&cut), [vec![1], vec![4]]);
    assert_eq!(cut.dropped, DroppedSpans { out_of_time: 3, ..DroppedSpans::default() });
    assert_eq!(cut.rejected, 3);
}

#[test]
fn a_span_that_is_too_large_is_cut_and_its_neighbours_stay() {
    let many_small = (0..10_000).map(|n| (format!("a small attribute {n}"), json!(n))).collect();
    let spans = vec![
        span(1, NOON),
        with_text(300_000, span(2, NOON)),
        Span { attributes: attributes(many_small), ..span(3, NOON) },
        span(4, NOON),
    ];

    let cut = cut_spans(spans);

    assert_eq!(ids(&cut), [[1, 2, 3, 4]]);
    let texts = with_text(4_096, span(2, NOON)).attributes;
    assert_eq!(decode(&cut.calls[0])[1].attributes[..1], texts);
    let left = decode(&cut.calls[0])[2].attributes.len();
    assert!((1..10_000).contains(&left), "{left}");
    assert_eq!(cut.dropped, DroppedSpans::default());
    assert_eq!((cut.rejected, cut.cut_spans), (0, 2));
}

#[test]
fn a_resource_that_is_too_large_is_cut_and_its_spans_stay() {
    let resource = |attribute_count: usize, bytes: usize, id| {
        let text = "x".repeat(bytes);
        let pairs = (0..attribute_count).map(|n| (format!("key {n}"), json!(text))).collect();
        ResourceSpans {
            resource: Some(Resource { attributes: attributes(pairs), ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![span(id, NOON)], ..Default::default() }],
            ..ResourceSpans::default()
        }
    };
    let resource_spans = vec![resource(1, 50_000, 1), resource(2_000, 1, 2), resource(1, 1, 3)];
    let given = ExportTraceServiceRequest { resource_spans }.encode_to_vec();

    let cut = cut_request(&given, &AcknowledgedSpans::default());

    assert_eq!(ids(&cut), [[1, 2, 3]]);
    assert_eq!(cut.dropped, DroppedSpans::default());
    assert!(cut.calls[0].body.len() < 24_000, "{}", cut.calls[0].body.len());
}

#[test]
fn spans_that_x_ray_has_are_left_out_and_the_refused_ones_among_them_are_counted_again() {
    let request = request((1..=4).map(|id| span(id, NOON)).collect());
    let first = cut_request(&request, &AcknowledgedSpans::default());
    let mut known = AcknowledgedSpans::default();
    for (id, is_refused) in [(first.calls[0].ids[0], true), (first.calls[0].ids[2], false)] {
        known.insert(id, AcknowledgedSpan { is_refused, annotations: 0 });
    }

    let second = cut_request(&request, &known);

    assert_eq!(ids(&second), [[2, 4]]);
    assert_eq!((second.rejected, second.acknowledged.len()), (1, 2));
}

#[test]
fn a_copy_of_a_span_is_sent_once() {
    let cut = cut_spans(vec![span(1, NOON), span(1, NOON), span(2, NOON)]);

    assert_eq!((ids(&cut), cut.rejected), (vec![vec![1, 2]], 0));
}
