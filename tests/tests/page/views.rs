//! Each address of the page's API, with real spans and lines.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::{common::v1::any_value, trace::v1::span::Link};
use serde_json::{Value, json};

use super::{LocalExtension, attribute, child, failed_request, hex, line, request, text};

fn ids(listed: &Value) -> BTreeSet<&str> {
    let traces = listed["traces"].as_array().expect("a list").iter();
    traces.map(|trace| trace["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_failed_request_is_in_every_view_with_its_spans_lines_and_failure() {
    let extension = LocalExtension::start("127.78.1.1:4318").await;
    let server = failed_request("/api/home", "PanicError", "it broke");
    let (id, server_id) = (hex(&server.trace_id), hex(&server.span_id));
    let mut read = child(&server, 2, "table read");
    read.attributes = vec![text("table.rows", "40")];
    read.links = vec![Link { trace_id: vec![7; 16], span_id: vec![8; 8], ..Link::default() }];
    let mut orphan = child(&server, 3, "orphan");
    orphan.parent_span_id = vec![9; 8];

    extension.send_lines(vec![line(&server, 17, "a line that failed")]).await;
    extension.send(vec![server.clone(), read, orphan]).await;
    let path = format!("/api/traces/{id}");
    let trace = extension.shows(&path, |trace| trace["summary"]["failures"] == 1).await;

    let summary = &trace["summary"];
    let expected = json!({
        "id": id, "name": "GET /api/home", "route": "/api/home", "method": "GET", "status": 500,
        "error": "PanicError: it broke", "cold": false, "user": "andrew", "service": "a-test",
        "request_id": format!("request-{}", server.trace_id[0]),
        "start_ms": server.start_time_unix_nano as f64 / 1e6, "duration_ms": 3.0,
        "spans": 3, "lines": 1, "failures": 1, "orphans": 1,
    });
    assert_eq!(*summary, expected);
    let listed = extension.json("/api/traces").await;
    assert_eq!(listed["traces"], json!([expected]));
    assert_eq!(listed["matched"], 1);
    let [first, read] = [0, 1].map(|index| &trace["spans"][index]);
    assert_eq!(
        (&first["id"], &first["kind"], &first["error"]),
        (&json!(server_id), &json!("server"), &json!(true))
    );
    assert_eq!(first["events"][0]["attributes"]["exception.message"], "it broke");
    assert_eq!(
        (&read["parent"], &read["attributes"]),
        (&json!(server_id), &json!({"table.rows": "40"}))
    );
    assert_eq!(read["links"], json!([{"trace": "07".repeat(16), "span": "08".repeat(8)}]));
    assert_eq!(trace["resources"][0]["service.name"], "a-test");
    let lines = extension.json("/api/lines?level=error&text=THAT+failed").await;
    assert_eq!((&lines["lines"], &trace["lines"]), (&trace["lines"], &lines["lines"]));
    let shown = &lines["lines"][0];
    assert_eq!(
        (&shown["message"], &shown["span"]),
        (&json!("a line that failed"), &json!(server_id))
    );
    let group = &extension.json("/api/failures").await["groups"][0];
    assert_eq!((&group["title"], &group["traces"]), (&json!("PanicError: it broke"), &json!([id])));
    assert_eq!(group["frames"][0]["file"], "./functions/src/home.rs");
    assert_eq!(
        (&group["frames"][0]["line"], &group["person"]),
        (&json!(12), &json!({"id": "andrew"}))
    );
}

#[tokio::test]
async fn a_trace_is_copied_as_text_and_as_otlp_and_previewed_for_each_destination() {
    let extension = LocalExtension::start("127.78.1.2:4318").await;
    let server = failed_request("/api/home", "PanicError", "it broke");
    let id = hex(&server.trace_id);
    extension.send_lines(vec![line(&server, 17, "a line that failed")]).await;
    extension.send(vec![server.clone(), child(&server, 2, "table read")]).await;
    let path = format!("/api/traces/{id}");
    extension.shows(&path, |trace| trace["summary"]["failures"] == 1).await;

    let drawn = extension.get(&format!("{path}/text")).await;
    let otlp = extension.get(&format!("{path}/otlp")).await;
    let previews = extension.json(&format!("{path}/previews")).await;

    let text = String::from_utf8(drawn.body.to_vec()).expect("UTF-8");
    for part in
        ["GET /api/home", &id, "└─ table read", "PanicError: it broke", "ERROR a line that failed"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(drawn.header("content-type"), Some("text/plain; charset=utf-8"));
    let file = format!("attachment; filename=\"trace-{id}.json\"");
    assert_eq!(otlp.header("content-disposition"), Some(file.as_str()));
    let spans = &otlp.json()["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!((&spans[0]["traceId"], &spans[1]["name"]), (&json!(id), &json!("table read")));
    for (destination, part) in [
        ("honeycomb", "resourceSpans"),
        ("xray", "\"fault\":true"),
        ("cloudwatch", "a line that failed"),
        ("rollbar", "\"fingerprint\""),
    ] {
        let documents = previews[destination].as_array().expect("documents");
        let has_part = |document: &Value| document.as_str().is_some_and(|it| it.contains(part));
        assert!(documents.iter().any(has_part), "{destination}: {documents:#?}");
    }
}

#[tokio::test]
async fn traces_are_filtered_by_each_parameter_and_a_wrong_one_is_refused() {
    let extension = LocalExtension::start("127.78.1.3:4318").await;
    let mut slow = request("/api/home", 200, 500);
    slow.attributes.push(text("faas.coldstart", "true"));
    let mut fast = request("/api/search", 404, 2);
    fast.attributes[4] = text("app.user_id", "brown");
    let failed = failed_request("/api/home", "PanicError", "A Needle, here");
    let mut below = child(&fast, 2, "table read");
    below.attributes =
        vec![text("a:b", "no key"), attribute("rows", any_value::Value::IntValue(40))];
    let all = [&slow, &fast, &failed].map(|span| hex(&span.trace_id));
    extension.send(vec![slow, fast, failed, below]).await;
    extension.shows("/api/traces", |listed| listed["matched"] == 3).await;

    for (query, expected) in [
        ("", &[0, 1, 2][..]),
        ("route=/api/home", &[0, 2]),
        ("route=%2Fapi%2Fsearch&method=GET", &[1]),
        ("status=404", &[1]),
        ("status=5xx", &[2]),
        ("error=1", &[2]),
        ("cold=1", &[0]),
        ("user=brow", &[1]),
        ("min_ms=100", &[0]),
        ("max_ms=2.5", &[1]),
        ("until_ms=1", &[]),
        ("text=needle%2C+HERE", &[2]),
        (&format!("text={}", all[1]), &[1]),
        ("attr=rows:40", &[1]),
        ("attr=rows:41", &[]),
        ("attr=rows", &[1]),
        ("attr=service.name:a-test&attr=rows", &[1]),
    ] {
        let listed = extension.json(&format!("/api/traces?{query}")).await;
        let expected: BTreeSet<&str> = expected.iter().map(|index| all[*index].as_str()).collect();
        assert_eq!(ids(&listed), expected, "{query}");
    }
    let one = extension.json("/api/traces?limit=1").await;
    assert_eq!((ids(&one).len(), &one["matched"]), (1, &json!(3)));
    for wrong in ["status=many", "min_ms=NaN", "limit=-1", "error=maybe"] {
        let reply = extension.get(&format!("/api/traces?{wrong}")).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(
            reply.json()["error"].as_str().is_some_and(|it| it.contains(" is not ")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn latencies_are_points_in_time_and_percentiles_by_route_without_cold_starts() {
    let extension = LocalExtension::start("127.78.1.4:4318").await;
    let mut cold = request("/api/home", 200, 900);
    cold.attributes.push(text("faas.coldstart", "true"));
    let warm = (1..=10).map(|ms| request("/api/home", 200, ms));
    let failed = failed_request("/api/search", "PanicError", "it broke");
    extension.send(warm.chain([cold, failed]).collect()).await;
    extension.shows("/api/traces", |listed| listed["matched"] == 12).await;

    let routes = extension.json("/api/routes").await;
    let points = extension.json("/api/points?route=/api/home").await;
    let failed = extension.json("/api/points?route=/api/search").await;

    assert_eq!(
        routes["routes"],
        json!([
            {"route": "/api/home", "method": "GET", "count": 11, "errors": 0, "cold": 1,
             "p50_ms": 5.0, "p90_ms": 9.0, "p99_ms": 10.0},
            {"route": "/api/search", "method": "GET", "count": 1, "errors": 1, "cold": 0,
             "p50_ms": 3.0, "p90_ms": 3.0, "p99_ms": 3.0},
        ])
    );
    let points = points["points"].as_array().expect("points");
    let cold: Vec<_> = points.iter().filter(|point| point[2] == 2).collect();
    assert_eq!((points.len(), cold.len(), &cold[0][1]), (11, 1, &json!(900.0)));
    assert_eq!(failed["points"][0][2], 1);
}

#[tokio::test]
async fn destinations_have_their_accounts_and_those_that_are_off_are_named() {
    let extension = LocalExtension::start("127.78.1.5:4318").await;
    extension.send(vec![request("/api/home", 200, 1)]).await;

    let delivered = |shown: &Value| {
        shown["destinations"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["name"] == "page" && it["delivered"] == 1))
    };
    let shown = extension.shows("/api/destinations", delivered).await;

    let by_name = |name: &str| {
        let all = shown["destinations"].as_array().expect("destinations");
        all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name}: {shown:#}"))
    };
    let page = by_name("page");
    assert_eq!(
        (&page["enabled"], &page["breaker"], &page["received"]),
        (&json!(true), &json!("closed"), &json!(1))
    );
    let honeycomb = by_name("honeycomb");
    assert_eq!((&honeycomb["enabled"], &honeycomb["breaker"]), (&json!(false), &Value::Null));
    assert_eq!(shown["holds"]["count"], 0);
}

#[tokio::test]
async fn hostile_values_are_data_and_no_more() {
    let extension = LocalExtension::start("127.78.1.6:4318").await;
    let html = "</script><script>alert(1)</script>\u{202e}\u{0}\u{1b}[31m";
    let mut server = request("/api/home", 200, 1);
    server.name = String::new();
    server.attributes = vec![
        text("html", html),
        text(html, "key"),
        text("large", &"x".repeat(1 << 20)),
        attribute("nan", any_value::Value::DoubleValue(f64::NAN)),
        attribute("bytes", any_value::Value::BytesValue(vec![0xff, 0xfe])),
        text("twice", "1"),
        text("twice", "2"),
    ];
    let mut skewed = child(&server, 2, "skewed");
    (skewed.start_time_unix_nano, skewed.end_time_unix_nano) = (u64::MAX, 5);
    let path = format!("/api/traces/{}", hex(&server.trace_id));
    extension.send_lines(vec![line(&server, 9, html)]).await;
    extension.send(vec![server, skewed]).await;

    let trace = extension.shows(&path, |trace| trace["summary"]["spans"] == 2).await;

    let span = &trace["spans"][0];
    let attributes = &span["attributes"];
    // Texts have no control characters of terminals.
    assert_eq!(attributes["html"], html.replace("\u{0}\u{1b}[31m", ""));
    assert_eq!((&attributes["nan"], &attributes["bytes"]), (&json!("NaN"), &json!("fffe")));
    assert_eq!((&attributes["twice"], &attributes["twice#2"]), (&json!("1"), &json!("2")));
    assert_eq!((&span["cut"], &span["name"]), (&json!(true), &json!("")));
    assert!(attributes["large"].as_str().is_some_and(|large| large.len() <= 4_096));
    assert_eq!(trace["spans"][1]["duration_ms"], 0.0);
    for path in ["/text", "/otlp", "/previews"].map(|view| format!("{path}{view}")) {
        let reply = extension.get(&path).await;
        assert_eq!(reply.status, 200, "{path}");
        let media_type = reply.header("content-type").expect("a type");
        assert!(!media_type.contains("html"), "{path}: {media_type}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}
