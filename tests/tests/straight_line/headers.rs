//! Every combination of the runtime's trace header and a caller's `traceparent`, and what became of
//! it: ids, flags and parents as they were posted, and the header that DynamoDB got.

use cruddur_tests::otlp::{Span, kind};
use cruddur_tests::{Honeycomb, Sandbox, Store, event};
use jiff::Timestamp;

const CALLER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER_SPAN: &str = "b7ad6b7169203331";
const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
const PARENT: &str = "53995c3f42cd8ad8";
const LINEAGE: &str = "Lineage=a87bd80c:1|68fd508a:5";

/// A runtime's header, and what follows `Root` and `Parent` in the header of calls that it allows
/// for; `None` if it names no trace.
fn runtime_headers() -> Vec<(Option<String>, Option<&'static str>)> {
    let mut headers = vec![
        (None, None),
        (Some(String::new()), None),
        (Some("Root=1-zzzz;Parent=53995c3f42cd8ad8;Sampled=1".to_owned()), None),
        (Some(format!("Parent={PARENT};Sampled=1")), None),
        (Some(format!("Root={ROOT};Sampled=1;x={}", "y".repeat(1024))), None),
        (
            Some(format!("{LINEAGE};Sampled=1;Root={ROOT};Parent={PARENT}")),
            Some(";Sampled=1;Lineage=a87bd80c:1|68fd508a:5"),
        ),
        (Some(format!("Root={ROOT};Parent=tooshort;Sampled=1")), Some(";Sampled=1")),
        (Some(format!("Root={ROOT};Parent={PARENT};Sampled=?")), Some("")),
    ];
    for parent in ["", ";Parent=53995c3f42cd8ad8"] {
        for sampled in ["", ";Sampled=0", ";Sampled=1"] {
            headers.push((Some(format!("Root={ROOT}{parent}{sampled}")), Some(sampled)));
        }
    }
    headers
}

/// A `traceparent`, and whether it is valid.
fn traceparents() -> [(Option<String>, bool); 5] {
    [
        (None, false),
        (Some(format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01")), true),
        (Some(format!("00-{CALLER_TRACE}-{CALLER_SPAN}-00")), true),
        (Some(format!("00-{CALLER_TRACE}-0000000000000000-01")), false),
        (Some("garbage".to_owned()), false),
    ]
}

#[tokio::test]
async fn ids_flags_parents_and_outgoing_headers_are_as_the_table_says() {
    let receiver = Honeycomb::without_key().await;
    let (direct, store, proxy) = Store::with_and_without_proxy().await;
    direct.seed();
    let sandbox = Sandbox::builder("user-short")
        .without_extension()
        .otlp_endpoint(&receiver.url())
        .freezing(false)
        .store(&store)
        .start()
        .await;
    for (runtime, decision) in runtime_headers() {
        for (traceparent, is_valid) in traceparents() {
            let case = format!("{runtime:?} {traceparent:?}");
            let mut event = event("user-short").without_header("x-amzn-trace-id");
            event = match &runtime {
                Some(header) => event.trace_header(header),
                None => event.without_trace_header(),
            };
            if let Some(traceparent) = &traceparent {
                event = event.header("traceparent", traceparent);
            }
            let before = proxy.requests().len();

            let reply = sandbox.invoke(event).await;
            let server = receiver.server_span(&reply.request_id).await;
            let trace = receiver.trace(&server.trace_id);
            let of_this_request = |span: &&Span| span.times.0 >= server.times.0;
            let mut calls: Vec<&Span> =
                trace.iter().filter(of_this_request).filter(|s| s.kind == kind::CLIENT).collect();
            calls.sort_by_key(|span| span.times.0);

            assert_eq!(reply.status, 200, "{case}: {}", reply.body);
            match (is_valid, decision) {
                (true, _) => assert_eq!(server.trace_id, CALLER_TRACE, "{case}"),
                (false, Some(_)) => assert_eq!(server.trace_id, in_w3c(ROOT), "{case}"),
                (false, None) => assert_begins_with_the_time(&server.trace_id, &case),
            }
            let parent = is_valid.then_some(CALLER_SPAN);
            assert_eq!(server.parent_id.as_deref(), parent, "{case}");
            assert_eq!(server.flags & 1, 1, "{case}: the caller's flag decides nothing");

            let requests = &proxy.requests()[before..];
            assert!(!calls.is_empty() && calls.len() == requests.len(), "{case}: {trace:#?}");
            let (root, decision) = match decision {
                Some(decision) => (ROOT.to_owned(), decision),
                None => (in_xray(&server.trace_id), ""),
            };
            for (call, request) in calls.iter().zip(requests) {
                let sent = request.header("x-amzn-trace-id").unwrap_or_default();
                let expected = format!("Root={root};Parent={}{decision}", call.span_id);
                assert_eq!(sent, expected, "{case}");
                assert_eq!(call.flags & 1, server.flags & 1, "{case}");
            }
        }
    }
}

fn in_w3c(root: &str) -> String {
    root.trim_start_matches("1-").replace('-', "")
}

fn in_xray(trace_id: &str) -> String {
    format!("1-{}-{}", &trace_id[..8], &trace_id[8..])
}

fn assert_begins_with_the_time(trace_id: &str, case: &str) {
    let seconds = i64::from_str_radix(&trace_id[..8], 16).expect("hex digits");
    let age = Timestamp::now().as_second() - seconds;
    assert!((0..60).contains(&age), "{case}: {trace_id} is {age} s old");
}
