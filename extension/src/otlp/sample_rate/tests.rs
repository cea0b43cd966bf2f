use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;

use super::*;

fn pair(key: &str, value: Any) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// An earlier rate, as an attribute that Honeycomb reads.
type Earlier = Option<(usize, u8)>;

fn attributes(earlier: Earlier) -> Vec<KeyValue> {
    let mut attributes = vec![pair("service.name", Any::StringValue("s".into()))];
    if let Some((form, rate)) = earlier {
        let value = match form % 3 {
            0 => Any::IntValue(rate.into()),
            1 => Any::StringValue(rate.to_string()),
            _ => Any::DoubleValue(rate.into()),
        };
        attributes.push(pair(["sampleRate", "SampleRate"][form / 3], value));
    }
    attributes
}

/// Honeycomb's reading of a list of attributes, as husky does it.
fn stated(attributes: &[KeyValue]) -> Option<i64> {
    let rate = |key: &str| {
        let pair = attributes.iter().find(|pair| pair.key == key)?;
        match pair.value.as_ref()?.value.as_ref()? {
            Any::IntValue(rate) => Some(*rate),
            Any::StringValue(rate) => rate.parse().ok(),
            Any::DoubleValue(rate) => Some(rate.round() as i64),
            _ => None,
        }
    };
    rate("sampleRate").or_else(|| rate("SampleRate")).map(|rate| rate.max(1))
}

/// The name of each span with the rate that Honeycomb gives it.
fn read(request: &[u8]) -> Vec<(String, i64)> {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let mut read = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = stated(&resource_spans.resource.unwrap_or_default().attributes);
        for scope_spans in resource_spans.scope_spans {
            let scope = stated(&scope_spans.scope.unwrap_or_default().attributes);
            for span in scope_spans.spans {
                let by_state = (span.trace_state == HALF).then_some(2);
                let rate = stated(&span.attributes).or(scope).or(resource).or(by_state);
                read.push((span.name, rate.unwrap_or(1)));
            }
        }
    }
    read.sort();
    read
}

const HALF: &str = "vendor=x,ot=rv:1;th:8";

const RATE: u64 = 20;

fn spans(request: &[u8]) -> Vec<&[u8]> {
    let scopes = nested(request, RESOURCES).flat_map(|it| nested(it, CHILDREN));
    scopes.flat_map(|scope| nested(scope, CHILDREN)).collect()
}

/// Whether a span has an own rate, so that its bytes may change.
fn has_own_rate(span: &[u8]) -> bool {
    let span = Span::decode(span).unwrap();
    stated(&span.attributes).is_some() || !span.trace_state.is_empty()
}

fn some_rate() -> impl Strategy<Value = Earlier> {
    option::weighted(0.2, (0..6_usize, 0..40_u8))
}

/// Resources with scopes with spans, whose names are their places.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let span = (some_rate(), proptest::bool::weighted(0.2));
    let scope = (some_rate(), vec(span, 0..4));
    vec((some_rate(), vec(scope, 0..3)), 0..4).prop_map(|resources| {
        let mut place = 0;
        let mut span = |(earlier, has_state): (Earlier, bool)| {
            place += 1;
            Span {
                name: (place - 1).to_string(),
                trace_id: vec![7; 16],
                trace_state: if has_state { HALF.into() } else { String::new() },
                attributes: attributes(earlier),
                ..Span::default()
            }
        };
        let mut scope = |(earlier, spans): (Earlier, Vec<_>)| {
            let attributes = attributes(earlier);
            let name = "scope".to_owned();
            let scope = InstrumentationScope { name, attributes, ..Default::default() };
            let spans = spans.into_iter().map(&mut span).collect();
            ScopeSpans { scope: Some(scope), spans, schema_url: "scope's".into() }
        };
        let resource = |(earlier, scopes): (Earlier, Vec<_>)| {
            let resource = Resource { attributes: attributes(earlier), ..Resource::default() };
            let scope_spans = scopes.into_iter().map(&mut scope).collect();
            let schema_url = "resource's".into();
            ResourceSpans { resource: Some(resource), scope_spans, schema_url }
        };
        let resource_spans = resources.into_iter().map(resource).collect();
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    })
}

fn fates() -> impl Strategy<Value = Vec<SampleFate>> {
    use SampleFate::{LeftOut, Unweighted, Weighted};
    vec(prop::sample::select(vec![LeftOut, Unweighted, Weighted]), 48)
}

proptest! {
    #[test]
    fn each_kept_span_is_there_once_with_its_weight_and_its_bytes(
        request in request(), fates in fates(),
    ) {
        let sampled = sample(SignalKind::Traces, &request, RATE, |place| fates[place]);

        let fate = |name: &str| fates[name.parse::<usize>().unwrap()];
        let kept = read(&request).into_iter().filter(|(name, _)| fate(name) != SampleFate::LeftOut);
        let expected: Vec<_> = kept
            .map(|(name, rate)| {
                let is_weighted = fate(&name) == SampleFate::Weighted;
                (name, if is_weighted { rate * RATE as i64 } else { rate })
            })
            .collect();
        prop_assert_eq!(sampled.items, expected.len() as u64);
        prop_assert_eq!(read(&sampled.bytes), expected);
        let before = spans(&request);
        for span in spans(&sampled.bytes) {
            let name = Span::decode(span).unwrap().name;
            let original = before[name.parse::<usize>().unwrap()];
            let has_earlier = has_own_rate(original) || scoped(&request, &name);
            prop_assert!(span == original || has_earlier);
        }
    }

    #[test]
    fn without_a_left_out_or_weighted_span_no_span_and_no_resource_changes(request in request()) {
        let sampled = sample(SignalKind::Traces, &request, RATE, |_| SampleFate::Unweighted);

        let decoded = |bytes: &[u8]| {
            let mut request = ExportTraceServiceRequest::decode(bytes).unwrap();
            for resource in &mut request.resource_spans {
                resource.scope_spans.retain(|scope| !scope.spans.is_empty());
            }
            request.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
            request
        };
        prop_assert_eq!(decoded(&sampled.bytes), decoded(&request));
    }
}

/// Whether the span's scope has a rate.
fn scoped(request: &[u8], name: &str) -> bool {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
    let mut scopes = scopes.filter(|it| it.spans.iter().any(|span| span.name == name));
    scopes.any(|it| stated(&it.scope.unwrap_or_default().attributes).is_some())
}

#[test]
fn a_threshold_is_the_inverse_of_its_probability() {
    for (state, expected) in [
        ("ot=th:8", Some(2.0)),
        ("ot=th:c", Some(4.0)),
        ("ot=th:0", Some(1.0)),
        ("a=b , ot=rv:abc;th:f", Some(16.0)),
        ("ot=th:", None),
        ("ot=th:8g", None),
        ("ot=th:888888888888888", None),
        ("ot=rv:8", None),
        ("other=th:8", None),
        ("", None),
    ] {
        assert_eq!(threshold_rate(state.as_bytes()), expected, "{state}");
    }
    let smallest = threshold_rate(b"ot=th:ffffffffffffff").unwrap();
    assert_eq!(product(1_000_000, smallest), i32::MAX as u64);
}

#[test]
fn a_rate_that_is_no_number_counts_as_none_and_one_below_1_as_1() {
    for (value, expected) in [
        (Any::StringValue("many".into()), RATE),
        (Any::BoolValue(true), RATE),
        (Any::IntValue(0), RATE),
        (Any::IntValue(-3), RATE),
        (Any::DoubleValue(f64::NAN), RATE),
        (Any::DoubleValue(2.4), 2 * RATE),
        (Any::IntValue(i64::MAX), i32::MAX as u64),
    ] {
        let span = Span { attributes: vec![pair("sampleRate", value.clone())], ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();

        let sampled = sample(SignalKind::Traces, &request, RATE, |_| SampleFate::Weighted);

        assert_eq!(read(&sampled.bytes)[0].1, expected as i64, "{value:?}");
    }
}

#[test]
fn log_records_get_the_rate_on_their_resource_too() {
    let record = |text: &str| LogRecord { event_name: text.to_owned(), ..LogRecord::default() };
    let log_records = vec![record("0"), record("1")];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let fates = [SampleFate::LeftOut, SampleFate::Weighted];

    let sampled = sample(SignalKind::Logs, &request, RATE, |place| fates[place]);

    let decoded = ExportLogsServiceRequest::decode(&sampled.bytes[..]).unwrap();
    let [logs] = &decoded.resource_logs[..] else { panic!("{decoded:?}") };
    assert_eq!(stated(&logs.resource.as_ref().unwrap().attributes), Some(RATE as i64));
    assert_eq!(logs.scope_logs[0].log_records, [record("1")]);
}
