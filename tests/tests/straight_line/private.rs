//! Texts and lengths of a request that no log line and no span may repeat.

use cruddur_tests::{Honeycomb, Reply, Sandbox, event};
use serde_json::json;

/// Longest text that a line or a span repeats of a URL or a header, in bytes.
const BOUND: usize = 1024;

#[tokio::test]
async fn a_search_term_is_in_no_line_and_in_no_span() {
    let honeycomb = Honeycomb::start().await;
    let sandbox =
        Sandbox::builder("search-activities").honeycomb(&honeycomb).demo_store().start().await;
    let search = event("search-activities").query("term", "quadrant #DivorceLawyer");
    let search = search.query("Term", "quadrant").query("limit", "2").query("x", "quadrant");

    let reply = sandbox.invoke(search).await;
    let line = sandbox.function_log("duration_ms").await;
    let server = honeycomb.server_span(&reply.request_id).await;

    assert_eq!(reply.status, 200);
    assert_eq!(server.attribute("url.query"), "Term=REDACTED&limit=2&term=REDACTED&x=REDACTED");
    let path = "/api/activities/search?Term=REDACTED&limit=2&term=REDACTED&x=REDACTED";
    assert_eq!(line["path"], path);
    assert_nothing_holds(&["quadrant", "divorce"], &sandbox, &honeycomb, &reply);
}

#[tokio::test]
async fn a_long_url_and_long_headers_are_cut_in_lines_and_spans() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("user-short").honeycomb(&honeycomb).demo_store().start().await;
    let long = |start: &str| format!("{start}{}", "y".repeat(6_000));
    let request = event("user-short")
        .path_parameter("handle", &long("handle"))
        .query("cursor", &long("c"))
        .query(&"a".repeat(900), &long("v"))
        .header("user-agent", &long("agent"))
        .header("host", &long("host"))
        .method(&long("METHOD"));

    let reply = sandbox.invoke(request).await;
    let line = sandbox.function_log("duration_ms").await;
    let server = honeycomb.server_span(&reply.request_id).await;

    assert_eq!(reply.status, 405);
    for name in
        ["url.path", "user_agent.original", "server.address", "http.request.method_original"]
    {
        let value = server.attribute(name);
        let length = value.as_str().unwrap_or_else(|| panic!("{name} is {value}")).len();
        assert!((1_000..=BOUND).contains(&length), "{name}: {length}");
    }
    assert!(server.attribute("url.query").as_str().unwrap().len() <= BOUND);
    assert!(line["path"].as_str().unwrap().len() <= 2 * BOUND, "{line}");
    assert!(line.to_string().len() < 8 * BOUND, "{}", line.to_string().len());
    assert_nothing_holds(&["y".repeat(BOUND + 1).as_str()], &sandbox, &honeycomb, &reply);
}

#[tokio::test]
async fn a_refused_header_is_cut_in_the_log() {
    let sandbox =
        Sandbox::builder("create-activity").without_extension().demo_store().start().await;
    let odd = event("create-activity").header("content-type", &"z".repeat(9_000)).body("{}");

    let reply = sandbox.invoke(odd).await;
    let line = sandbox.function_log("duration_ms").await;

    assert_eq!((reply.status, &reply.json), (415, &json!(["unsupported_media_type"])));
    assert!(line["error"].as_str().unwrap().contains("zzz"), "{line}");
    assert!(!line.to_string().contains(&"z".repeat(BOUND + 1)), "{line}");
}

fn assert_nothing_holds(texts: &[&str], sandbox: &Sandbox, honeycomb: &Honeycomb, reply: &Reply) {
    let spans = honeycomb.trace(&reply.root_trace_id().expect("a root"));
    assert!(!spans.is_empty());
    let all = format!("{spans:?} {:?}", sandbox.function_log_lines()).to_lowercase();
    for text in texts {
        assert!(!all.contains(text), "{text:.40} is in a line or a span");
    }
}
