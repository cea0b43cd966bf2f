//! What the page keeps is bounded, whatever arrives.

use std::time::SystemTime;

use cruddur_tests::{otlp, usage};
use serde_json::{Value, json};

use super::{LocalExtension, child, hex, request, text};

/// The store's 32 MiB, a batch and its parts, and the program itself in a debug build.
const MAX_RSS: usize = 160 << 20;

#[tokio::test]
async fn a_trace_of_100_000_spans_keeps_its_first_5_000_and_counts_the_rest() {
    let extension = LocalExtension::start("127.78.4.1:4318").await;
    let server = request("/api/home", 200, 1);
    let path = format!("/api/traces/{}", hex(&server.trace_id));
    extension.send(vec![server.clone()]).await;
    for _ in 0..20 {
        extension.send((0..5_000).map(|_| child(&server, 2, "step")).collect()).await;
    }

    let is_complete = |trace: &Value| trace["dropped"] == 95_001;
    let trace = extension.shows(&path, is_complete).await;

    assert_eq!(trace["spans"].as_array().map(Vec::len), Some(5_000));
    assert_eq!(trace["summary"]["route"], "/api/home");
    assert_eq!(extension.json("/api/traces").await["spans_dropped"], 95_001);
    let drawn = extension.get(&format!("{path}/text")).await;
    assert_eq!(drawn.status, 200);
}

#[tokio::test]
async fn of_10_000_traces_the_latest_are_kept_within_the_memory_of_the_store() {
    let extension = LocalExtension::start("127.78.4.2:4318").await;
    let padding = "x".repeat(6_000);
    for number in 0..10 {
        let spans = (0..1_000).map(|index| {
            let mut span = otlp::root_span(&format!("{number}-{index}"), SystemTime::now());
            span.attributes = vec![text("padding", &padding)];
            span
        });
        extension.send(spans.collect()).await;
        // The pipeline's buffer would drop what arrives faster than it is kept.
        let all = |listed: &Value| {
            let count = |key: &str| listed[key].as_u64().unwrap_or_default();
            count("matched") + count("traces_evicted") == (number + 1) * 1_000
        };
        extension.shows("/api/traces?limit=1", all).await;
    }

    let listed = extension.json("/api/traces?limit=10000").await;

    let names = listed["traces"].as_array().expect("traces").iter().map(|trace| &trace["name"]);
    let names: Vec<&Value> = names.collect();
    assert!(names.contains(&&json!("9-999")) && !names.contains(&&json!("0-0")));
    assert!((4_000..6_000).contains(&names.len()), "{} are kept", names.len());
    let rss = usage::rss_bytes(extension.pid());
    assert!(rss < MAX_RSS, "{rss} bytes");
    assert_eq!(
        extension.json("/api/routes").await["routes"].as_array().map(Vec::len),
        Some(names.len())
    );
}
