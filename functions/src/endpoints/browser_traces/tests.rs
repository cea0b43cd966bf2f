use serde_json::{Value, json};

use super::*;
use crate::{
    config::Config,
    test_support::{Event, FakeExtension},
};

const PAGE: &str = "https://cruddur.example.com";

fn app(extension: &FakeExtension) -> App {
    let endpoint = format!("http://{}", extension.address);
    App::new(Config::from_vars(move |name| match name {
        "FRONTEND_URL" => Some(PAGE.to_owned()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        _ => None,
    }))
}

fn traces() -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "documentLoad",
    }]}]}]})
}

fn event() -> Event {
    Event::new("POST", ROUTE.path).header("origin", PAGE).json(traces())
}

async fn answer(app: &App, event: Event) -> (u16, String) {
    let reply = handle(app, event.request()).await.unwrap_or_else(|error| error.reply());
    (reply.status_code(), reply.body().to_owned())
}

#[tokio::test]
async fn a_pages_spans_reach_the_extension_under_the_pages_name() {
    let extension = FakeExtension::start("200 OK");

    let answer = answer(&app(&extension), event()).await;

    assert_eq!(answer, (200, r#"{"partialSuccess":{}}"#.to_owned()));
    let (_, received) = extension.received();
    assert_eq!(received.scope_spans[0].spans[0].name, "documentLoad");
    let resource = received.resource.unwrap();
    assert!(format!("{resource:?}").contains(page_spans::SERVICE_NAME));
}

#[tokio::test]
async fn what_is_not_the_pages_or_no_traces_is_refused_and_goes_nowhere() {
    let extension = FakeExtension::start("200 OK");
    let app = app(&extension);
    let many = vec![traces()["resourceSpans"][0].clone(); 101];
    let large = " ".repeat(MAX_BODY) + &traces().to_string();
    for (event, expected) in [
        (event().header("origin", "https://example.com"), (403, r#"["origin_not_allowed"]"#)),
        (event().header("origin", "null"), (403, r#"["origin_not_allowed"]"#)),
        (event().header("content-type", "text/plain"), (415, r#"["unsupported_media_type"]"#)),
        (event().header("content-encoding", "gzip"), (415, r#"["unsupported_media_type"]"#)),
        (event().body(&large), (413, r#"["body_too_large"]"#)),
        (event().body(" []"), (400, r#"["malformed_traces"]"#)),
        (event().body("{"), (400, r#"["malformed_traces"]"#)),
        (event().json(json!({"resourceSpans": many})), (413, r#"["too_many_spans"]"#)),
    ] {
        let (status, body) = answer(&app, event).await;

        assert_eq!((status, body.as_str()), expected);
    }
    assert!(extension.has_received_nothing());
}

#[tokio::test]
async fn a_request_without_spans_is_taken_and_goes_nowhere() {
    let extension = FakeExtension::start("200 OK");
    let app = app(&extension);

    for nothing in [json!({}), json!({"resourceSpans": [{"scopeSpans": [{"spans": []}]}]})] {
        assert_eq!(answer(&app, event().json(nothing)).await.0, 200);
    }

    assert!(extension.has_received_nothing());
}

#[tokio::test]
async fn without_an_extension_the_page_is_told_to_try_again() {
    let extension = FakeExtension::start("503 Service Unavailable");

    let answer = answer(&app(&extension), event()).await;

    assert_eq!(answer, (503, r#"["traces_not_taken"]"#.to_owned()));
}
