//! The trace of an invocation, and the headers that name it.

use super::*;

#[tokio::test]
async fn trace_id_and_parent_come_from_traceparent_else_from_root_else_from_the_clock_and_the_flag_never()
 {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let sampled = format!("00-{CALLER}-{CALLERS_SPAN}-01");
    let unsampled = format!("00-{CALLER}-{CALLERS_SPAN}-00");
    let root_only = format!("Root=1-{}-{}", &ROOT[..8], &ROOT[8..]);
    // traceparent, the runtime's header, trace id, parent, flag
    let table = [
        (Some(&*sampled), Some(XRAY), Some(CALLER), CALLERS_SPAN, 1),
        (Some(&*sampled), None, Some(CALLER), CALLERS_SPAN, 1),
        (Some(&*unsampled), Some(XRAY), Some(CALLER), CALLERS_SPAN, 1),
        (Some("00-no-traceparent-01"), Some(XRAY), Some(ROOT), "", 1),
        (None, Some(XRAY), Some(ROOT), "", 1),
        (None, Some(&*root_only), Some(ROOT), "", 1),
        (None, Some("Root=1-no-root"), None, "", 1),
        (None, None, None, "", 1),
    ];
    for (traceparent, xray, trace_id, parent, flag) in table {
        function.invoke(traceparent, xray).await;

        let spans = extension.spans();
        let [step, server] = &spans[..] else { panic!("{spans:?}") };
        let case = format!("{traceparent:?} {xray:?}");
        match trace_id {
            Some(trace_id) => assert_eq!(hex(&server.trace_id), trace_id, "{case}"),
            None => assert_starts_with_the_time(server),
        }
        assert_eq!(hex(&server.parent_span_id), parent, "{case}");
        assert_eq!((server.flags & 1, step.flags & 1), (flag, flag), "{case}");
        assert_eq!(step.trace_id, server.trace_id, "{case}");
        assert_eq!(step.parent_span_id, server.span_id, "{case}");
    }
}

fn assert_starts_with_the_time(span: &Span) {
    let seconds = u32::from_be_bytes(span.trace_id[..4].try_into().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(u64::from(seconds)) < 60, "{seconds}");
}

#[tokio::test]
async fn tracestate_and_baggage_come_along_unless_they_are_too_long_or_malformed() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let traceparent = format!("00-{CALLER}-{CALLERS_SPAN}-01");
    let (long, longer) = (format!("a={}", "b".repeat(511)), format!("a={}", "b".repeat(8191)));
    for (tracestate, baggage, expected_state, expected_baggage) in [
        (
            "rojo=00f067aa0ba902b7,congo=t61",
            "tenant=a%20b",
            "rojo=00f067aa0ba902b7,congo=t61",
            "a b",
        ),
        (&long, &longer, "", ""),
        ("no state", "no baggage", "", ""),
        ("", "", "", ""),
    ] {
        let headers =
            [("traceparent", &*traceparent), ("tracestate", tracestate), ("baggage", baggage)];
        let mut tenant = String::new();
        function
            .invoke_with(&ROUTE, &headers, None, || {
                let context = tracing::Span::current().context();
                tenant =
                    context.baggage().get("tenant").map(ToString::to_string).unwrap_or_default();
            })
            .await;

        let spans = extension.spans();
        assert_eq!(hex(&spans[1].trace_id), CALLER, "{tracestate:.40}");
        assert_eq!(spans[1].trace_state, expected_state);
        assert_eq!(spans[0].trace_state, expected_state);
        assert_eq!(tenant, expected_baggage, "{baggage:.40}");
    }
}

#[tokio::test]
async fn health_checks_and_what_the_sampler_leaves_out_are_recorded_with_the_unsampled_flag() {
    let extension = FakeExtension::start("200 OK");
    let sampled = format!("00-{CALLER}-{CALLERS_SPAN}-01");
    let unsampled = format!("00-{CALLER}-{CALLERS_SPAN}-00");
    let health = crate::endpoints::health_check::ROUTE;
    for (sampler, ratio, route, traceparent, flag) in [
        ("parentbased_always_on", "", &health, None, 0),
        ("always_on", "", &health, Some(&sampled), 0),
        ("always_on", "", &ROUTE, Some(&unsampled), 1),
        ("always_off", "", &ROUTE, Some(&sampled), 0),
        ("parentbased_always_off", "", &ROUTE, Some(&sampled), 0),
        ("parentbased_always_on", "", &ROUTE, Some(&unsampled), 1),
        ("parentbased_traceidratio", "0", &ROUTE, Some(&sampled), 0),
        ("parentbased_always_off", "", &ROUTE, None, 0),
        ("traceidratio", "0", &ROUTE, None, 0),
        ("traceidratio", "1", &ROUTE, None, 1),
    ] {
        let vars = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let function = Function::configured(extension.address, &vars);
        let headers: Vec<_> =
            traceparent.map(|value| ("traceparent", &**value)).into_iter().collect();
        function.invoke_with(route, &headers, None, || {}).await;

        let spans = extension.spans();
        let flags: Vec<u32> = spans.iter().map(|span| span.flags & 1).collect();
        assert_eq!(flags, [flag, flag], "{sampler} {ratio} {} {traceparent:?}", route.path);
    }
}

#[tokio::test]
async fn the_reply_names_the_trace_and_xrays_root() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let traceparent = format!("00-{CALLER}-{CALLERS_SPAN}-00");

    let reply =
        function.invoke_with(&ROUTE, &[("traceparent", &traceparent)], Some(XRAY), || {}).await;

    let server = extension.spans().remove(1);
    let headers = serde_json::to_value(reply).unwrap()["headers"].take();
    assert_eq!(headers["traceparent"], format!("00-{CALLER}-{}-01", hex(&server.span_id)));
    let root = format!("Root=1-{}-{};Sampled=0", &ROOT[..8], &ROOT[8..]);
    assert_eq!(headers["x-amzn-trace-id"], root);
}
