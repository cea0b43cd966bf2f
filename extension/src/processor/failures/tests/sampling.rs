//! Links in items of traces that sampling left out.

use super::*;

fn world() -> World {
    let mut world = World::new(&[
        ("HONEYCOMB_API_KEY", "k"),
        ("CRUDDUR_HONEYCOMB_SAMPLE_RATE", "1000000"),
        ("CRUDDUR_TRACE_URL", "https://trace.example/{trace_id}"),
    ]);
    world.on_invoke("cold");
    world.on_invoke("r");
    world
}

/// A flush begins after the invocation.
fn flush(world: &World, span: &Span) {
    let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    world.registry.observe(SignalKind::Traces, &request, false);
    world.registry.conclude(world.attempt("r"));
    world.registry.decide(world.now, false);
}

fn answered() -> Span {
    Span { events: Vec::new(), ..server("r") }
}

fn report(world: &mut World) -> Value {
    world.spans(vec![server("r")]);
    world.event("platform.runtimeDone", json!({ "requestId": "r", "status": "success" }));
    let custom = world.items[0]["data"]["custom"].clone();
    assert_eq!(custom["trace_id"], ROOT);
    custom["trace_url"].clone()
}

#[test]
fn an_item_has_a_link_to_a_trace_that_is_kept_and_none_to_one_that_was_left_out() {
    let mut kept = world();
    flush(&kept, &server("r"));
    assert_eq!(report(&mut kept), format!("https://trace.example/{ROOT}"));

    // The failure comes after the decision.
    let mut left_out = world();
    flush(&left_out, &answered());
    assert_eq!(report(&mut left_out), Value::Null);
}
