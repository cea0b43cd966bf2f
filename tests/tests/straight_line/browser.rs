//! A trace that begins in the page.

use cruddur_tests::otlp::kind;
use cruddur_tests::{Honeycomb, Sandbox, event};

/// Where the sample event says that it comes from.
pub(super) const PAGE: &str = "http://localhost:3000";

#[tokio::test]
async fn the_pages_span_and_the_functions_are_one_trace_at_honeycomb() {
    let honeycomb = Honeycomb::start().await;
    let page = event("browser-traces");
    let taker = Sandbox::builder("browser-traces").honeycomb(&honeycomb).env("FRONTEND_URL", PAGE);
    let home = Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store();
    let (taker, home) = (taker.start().await, home.start().await);
    // The ids that the sample event's span has.
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    let reply = home.invoke(event("home-activities").header("traceparent", traceparent)).await;
    let taken = taker.invoke(page).await;
    let server = honeycomb.server_span(&reply.request_id).await;
    let of_page = honeycomb.span("HTTP GET").await;

    assert_eq!((taken.status, taken.body.as_str()), (200, r#"{"partialSuccess":{}}"#));
    assert_eq!(of_page.resource("service.name"), "frontend-react-js");
    assert_eq!((of_page.kind, of_page.parent_id), (kind::CLIENT, None));
    assert_eq!(server.trace_id, of_page.trace_id);
    assert_eq!(server.parent_id, Some(of_page.span_id));
}
