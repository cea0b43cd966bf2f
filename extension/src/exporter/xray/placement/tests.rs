//! Numbers identify the spans: [`T`] is their own trace, [`ROOT`] X-Ray's, [`P`] its parent.

use std::time::Duration;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::json;

use super::*;
use crate::exporter::xray::index::index;
use crate::exporter::xray::tests::{attributes, span_id, trace_id};
use crate::lambda::extensions_api::Invoke;

const T: u128 = 7;
const ROOT: u128 = 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793;
const P: u64 = 0x5399_5c3f_42cd_8ad8;

fn headers(invocations: &[(&str, u64, &str)]) -> Registry {
    let headers = Registry::default();
    for (request_id, second, header) in invocations {
        let event = json!({ "requestId": request_id, "tracing": { "value": header } });
        let invoke: Invoke = serde_json::from_value(event).unwrap();
        headers.on_invoke(&invoke, SystemTime::UNIX_EPOCH + Duration::from_secs(*second));
    }
    headers
}

fn header(rest: &str) -> String {
    format!("Root=1-5759e988-bd862e3fe1be46a994272793{rest}")
}

fn sampled() -> String {
    header(&format!(";Parent={P:016x};Sampled=1"))
}

fn span(id: u64, parent: Option<u64>) -> Indexed<'static> {
    Indexed {
        trace_id: Some(trace_id(T)),
        span_id: Some(span_id(id)),
        parent: parent.map(span_id),
        ..Indexed::default()
    }
}

fn server<'a>(id: u64, parent: Option<u64>, invocation: &'a str) -> Indexed<'a> {
    Indexed { invocation: Some(invocation), is_entry: true, ..span(id, parent) }
}

fn ended(span: Indexed<'_>, second: u64) -> Indexed<'_> {
    Indexed { end: second * 1_000_000_000, ..span }
}

/// `(trace, id, parent, is it an entry)` of those that are sent.
fn sent(placer: &mut Placer, spans: &[Indexed<'_>]) -> Vec<(u128, u64, Option<u64>, bool)> {
    let placements = placer.place_spans(spans, SystemTime::now()).0.into_iter();
    let number = |id: SpanId| u64::from_be_bytes(id.to_bytes());
    placements
        .filter_map(|placement| match placement {
            Placement::Sent(place) => Some((
                u128::from_be_bytes(place.trace_id.to_bytes()),
                number(place.id),
                place.parent.map(number),
                place.entry.is_some(),
            )),
            Placement::Unsampled | Placement::Unknown => None,
        })
        .collect()
}

#[test]
fn a_sampled_invocations_spans_hang_under_its_parent_whatever_their_own_trace() {
    let mut placer = Placer::new(Some(headers(&[("r", 0, &sampled())])), 0.0);
    // Children arrive first. 99 is the browser's span.
    let spans = [span(3, Some(2)), span(2, Some(1)), server(1, Some(99), "r")];

    let expected = [(ROOT, 3, Some(2), false), (ROOT, 2, Some(1), false), (ROOT, 1, Some(P), true)];
    assert_eq!(sent(&mut placer, &spans), expected);
}

#[test]
fn without_invoke_the_header_that_the_span_carries_counts() {
    let mut placer = Placer::new(Some(Registry::default()), 0.0);
    let header = sampled();
    let spans = [Indexed { header: Some(&header), ..server(1, None, "r") }];

    assert_eq!(sent(&mut placer, &spans), [(ROOT, 1, Some(P), true)]);
}

#[test]
fn each_decision_of_lambdas_is_followed() {
    let parent = format!(";Parent={P:016x}");
    for (header, rate, expected) in [
        (header(&format!("{parent};Sampled=0")), 1.0, None),
        (header(";Sampled=1"), 0.0, Some((ROOT, None))),
        (header(""), 0.0, None),
        (header(""), 1.0, Some((ROOT, None))),
        (header(";Sampled=?"), 1.0, Some((ROOT, None))),
        (header(&parent), 1.0, Some((ROOT, None))),
        ("".to_owned(), 0.0, None),
        ("".to_owned(), 1.0, Some((T, None))),
    ] {
        let mut placer = Placer::new(Some(headers(&[("r", 0, &header)])), rate);

        let found = sent(&mut placer, &[span(2, Some(1)), server(1, Some(99), "r")]);

        let expected = expected
            .map(|(trace, parent)| vec![(trace, 2, Some(1), false), (trace, 1, parent, true)]);
        assert_eq!(found, expected.unwrap_or_default(), "{header} {rate}");
    }
}

#[test]
fn the_undecided_are_sent_at_the_rate_and_each_trace_as_a_whole() {
    let mut placer = Placer::new(Some(Registry::default()), 0.25);
    let mut chosen = 0;
    for trace in 1..=4_000_u128 {
        // Spread as random ids are.
        let id = Some(trace_id(trace.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)));
        let both = [
            Indexed { trace_id: id, ..span(2, Some(1)) },
            Indexed { trace_id: id, ..span(1, None) },
        ];
        let count = sent(&mut placer, &both).len();
        assert!(count == 0 || count == 2);
        chosen += count / 2;
    }
    assert!((900..1_100).contains(&chosen), "{chosen}");
}

#[test]
fn children_that_come_before_their_server_span_find_its_trace() {
    let contexts =
        headers(&[("q", 1, "Root=1-00000001-000000000000000000000001"), ("r", 10, &sampled())]);
    let mut placer = Placer::new(Some(contexts), 0.0);

    let early = sent(&mut placer, &[ended(span(3, Some(2)), 11)]);
    let late = sent(&mut placer, &[ended(server(1, Some(99), "r"), 12)]);

    assert_eq!(early, [(ROOT, 3, Some(2), false)]);
    assert_eq!(late, [(ROOT, 1, Some(P), true)]);
}

#[test]
fn spans_that_come_after_their_server_span_join_it() {
    let mut placer = Placer::new(Some(Registry::default()), 0.0);
    let header = sampled();
    sent(&mut placer, &[Indexed { header: Some(&header), ..server(1, Some(99), "r") }]);

    assert_eq!(sent(&mut placer, &[span(4, Some(1))]), [(ROOT, 4, Some(1), false)]);
}

#[test]
fn the_same_trace_in_two_invocations_is_two_traces_at_x_ray() {
    let other = "Root=1-00000001-000000000000000000000001;Parent=00000000000000aa;Sampled=1";
    let mut placer = Placer::new(Some(headers(&[("q", 1, other), ("r", 2, &sampled())])), 0.0);
    let spans =
        [span(2, Some(1)), server(1, Some(99), "q"), span(4, Some(3)), server(3, Some(99), "r")];

    let traces: Vec<_> = sent(&mut placer, &spans).into_iter().map(|it| it.0).collect();

    let first = 0x0000_0001_0000_0000_0000_0000_0000_0001;
    assert_eq!(traces, [first, first, ROOT, ROOT]);
}

#[test]
fn a_span_with_no_invocation_id_belongs_to_the_invocation_it_ended_in() {
    let mut placer = Placer::new(Some(headers(&[("r", 10, &sampled())])), 0.0);

    assert_eq!(sent(&mut placer, &[ended(span(1, None), 11)]), [(ROOT, 1, Some(P), true)]);
    assert_eq!(sent(&mut placer, &[ended(span(1, None), 9)]), []);
}

#[test]
fn what_an_invocation_passes_on_stays_in_its_own_trace() {
    let mut placer = Placer::new(Some(headers(&[("r", 10, &sampled())])), 1.0);
    let span = |id: u64| Span {
        trace_id: T.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        end_time_unix_nano: 11_000_000_000,
        ..Span::default()
    };
    let spans_of = |attributes, id| ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span(id)], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    let of_page = attributes(json!({"service.name": "page", "cruddur.source": "page"}));
    let own = attributes(json!({"service.name": "function"}));
    let resource_spans = vec![spans_of(of_page, 1), spans_of(own, 2)];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();

    let found = sent(&mut placer, &index(&request).0);

    assert_eq!(found, [(T, 1, None, true), (ROOT, 2, Some(P), true)]);
}

#[test]
fn a_cycle_of_parents_is_cut_open() {
    let mut placer = Placer::new(Some(Registry::default()), 1.0);
    let spans =
        [span(1, Some(2)), span(2, Some(3)), span(3, Some(1)), span(4, Some(3)), span(5, Some(5))];

    let found = sent(&mut placer, &spans);

    let entries: Vec<_> = found.iter().filter(|it| it.3).map(|it| (it.1, it.2)).collect();
    assert_eq!(entries, [(1, None), (5, None)]);
    assert_eq!(found.len(), 5);
}

#[test]
fn a_chain_of_parents_of_any_depth_is_followed() {
    let mut placer = Placer::new(Some(headers(&[("r", 0, &sampled())])), 0.0);
    let mut spans: Vec<_> = (2..20_000).rev().map(|id| span(id, Some(id - 1))).collect();
    spans.push(server(1, Some(99), "r"));

    let found = sent(&mut placer, &spans);

    assert!(found.iter().all(|it| it.0 == ROOT));
    assert_eq!(found.iter().filter(|it| it.3).count(), 1);
}

#[test]
fn zero_and_duplicate_ids_are_replaced_by_the_same_at_each_attempt() {
    let mut placer = Placer::new(Some(Registry::default()), 1.0);
    let with = |bytes| Indexed { bytes, ..span(1, None) };
    let none = Indexed { bytes: b"c", span_id: None, trace_id: None, ..span(9, None) };
    let spans = [with(b"a"), with(b"a"), with(b"b"), none];

    let first = sent(&mut placer, &spans);

    let ids: Vec<_> = first.iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(ids[0], ids[1], "one and the same");
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    assert_eq!(sent(&mut placer, &spans), first);
}

#[test]
fn a_server_span_of_the_same_process_is_no_entry() {
    let span = |kind: i32, flags: u32, json: serde_json::Value| Span {
        trace_id: T.to_be_bytes().to_vec(),
        span_id: vec![3; 8],
        parent_span_id: vec![2; 8],
        kind,
        flags,
        attributes: attributes(json),
        ..Span::default()
    };
    let (internal, server) = (1, 2);
    for (span, is_entry) in [
        (span(server, 0, json!({})), true),
        (span(server, 0x101, json!({})), false),
        (span(server, 0x301, json!({})), true),
        (span(server, 0x101, json!({ "faas.invocation_id": "r" })), true),
        (span(internal, 0, json!({})), false),
        (span(internal, 0x301, json!({})), true),
        (span(internal, 0x101, json!({ "aws.span.kind": "LOCAL_ROOT" })), true),
        (span(internal, 0x101, json!({ "faas.invocation_id": "r" })), false),
    ] {
        let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();

        assert_eq!(index(&request).0[0].is_entry, is_entry, "{span:?}");
    }
}

#[test]
fn a_platforms_span_tells_the_header_after_the_invocation_is_forgotten() {
    let mut placer = Placer::new(Some(Registry::default()), 0.0);
    let header = sampled();
    let report = Indexed { header: Some(&header), ..span(2, Some(1)) };

    assert_eq!(sent(&mut placer, &[report]), [(ROOT, 2, Some(1), false)]);
}

#[test]
fn of_spans_from_a_log_only_what_a_header_says_is_known() {
    let parent = format!(";Parent={P:016x}");
    let mut placer = Placer::new(None, 0.0);
    for (header, expected) in [
        (Some(sampled()), None),
        (Some(header(&format!("{parent};Sampled=0"))), Some(Placement::Unsampled)),
        (Some(header("")), Some(Placement::Unsampled)),
        (None, Some(Placement::Unknown)),
    ] {
        let spans =
            [span(2, Some(1)), Indexed { header: header.as_deref(), ..server(1, Some(99), "r") }];

        let (placements, _) = placer.place_spans(&spans, SystemTime::now());

        match expected {
            Some(expected) => assert_eq!(placements, [expected, expected], "{header:?}"),
            None => {
                assert!(placements.iter().all(|placement| matches!(placement, Placement::Sent(_))))
            }
        }
    }
    let mut all = Placer::new(None, 1.0);
    assert_eq!(sent(&mut all, &[server(1, Some(99), "r")]), [(T, 1, None, true)]);
}
