//! What the recording X-Ray promises: it takes what X-Ray takes by OTLP, and nothing else.

use std::time::{Duration, SystemTime};

use cruddur_tests::http_client::{self, HttpReply};
use cruddur_tests::otlp::{request_of, root_span};
use cruddur_tests::{Burst, Load, Recorded, Sandbox, Xray};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// A call that the extension has made, and the X-Ray that took it.
async fn taken() -> (Xray, Recorded) {
    let (xray, load) = (Xray::start().await, Load::default());
    xray.transaction_search(true);
    let sandbox = Sandbox::builder("load")
        .function(load.function())
        .env("CRUDDUR_EXPORTERS", "xray")
        .env("CRUDDUR_XRAY_TRANSPORT", "otlp")
        .env("AWS_ENDPOINT_URL_XRAY", &xray.url());
    let sandbox = sandbox.start().await;
    let reply = sandbox.invoke(Burst::SMALL.event()).await;
    sandbox.ended(&reply.request_id).await;
    xray.spans_reach(13).await;
    let call = xray.requests().into_iter().next().expect("a call");
    (xray, call)
}

/// Sends the call again with its headers, changed.
async fn again(xray: &Xray, call: &Recorded, change: (&str, &str), body: Vec<u8>) -> HttpReply {
    let (changed, value) = change;
    let mut headers: Vec<(&str, &str)> = call
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("a text")))
        .filter(|(name, _)| *name != "content-length" && *name != changed)
        .collect();
    headers.extend((!value.is_empty()).then_some((changed, value)));
    let url = format!("{}{}", xray.url(), call.path);
    http_client::post(&url, &headers, body).await.expect("an answer")
}

#[tokio::test]
async fn a_call_is_taken_only_with_its_signature_token_time_and_body() {
    let (xray, call) = taken().await;
    let body = call.body.to_vec();
    let authorization = call.header("authorization").expect("a signature").to_owned();
    let other_service = authorization.replace("/xray/", "/logs/");
    let last_digit = if authorization.ends_with('0') { '1' } else { '0' };
    let other_signature = format!("{}{last_digit}", &authorization[..authorization.len() - 1]);
    let unsigned_token = authorization.replace(";x-amz-security-token", "");

    assert_eq!(again(&xray, &call, ("", ""), body.clone()).await.status, 200);
    for (change, code) in [
        (("authorization", ""), "MissingAuthenticationTokenException"),
        (("authorization", other_service.as_str()), "InvalidSignatureException"),
        (("authorization", &other_signature), "InvalidSignatureException"),
        (("authorization", &unsigned_token), "InvalidSignatureException"),
        (("x-amz-security-token", "another"), "UnrecognizedClientException"),
        (("x-amz-date", "20260101T000000Z"), "InvalidSignatureException"),
        (("content-type", "application/json"), "InvalidSignatureException"),
    ] {
        let reply = again(&xray, &call, change, body.clone()).await;
        let found = (reply.status.as_u16(), reply.header("x-amzn-errortype"));
        assert_eq!(found, (403, Some(code)), "{change:?}");
    }
    let other_body = request_of([root_span("another", SystemTime::now())].into_iter());
    let reply = again(&xray, &call, ("", ""), other_body).await;
    assert_eq!(reply.header("x-amzn-errortype"), Some("InvalidSignatureException"));
    xray.clock_ahead(301);
    assert_eq!(again(&xray, &call, ("", ""), body).await.status, 403);
}

#[tokio::test]
async fn the_search_and_the_permission_are_needed() {
    let (xray, call) = taken().await;
    let stored = xray.spans().len();

    xray.transaction_search(false);
    let off = again(&xray, &call, ("", ""), call.body.to_vec()).await;
    xray.deny_spans();
    let denied = again(&xray, &call, ("", ""), call.body.to_vec()).await;

    assert_eq!((off.status.as_u16(), denied.status.as_u16()), (400, 403));
    assert_eq!(off.body[..2], [0x08, 3], "a protobuf Status of INVALID_ARGUMENT");
    assert_eq!(denied.header("x-amzn-errortype"), Some("AccessDeniedException"));
    assert_eq!(xray.spans().len(), stored);
}

fn hours_ago(hours: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(hours * 3_600)
}

#[test]
fn a_call_beyond_a_limit_is_refused_and_a_span_beyond_one_is_rejected() {
    let now = SystemTime::now();
    let span = |hours| root_span("a span", hours_ago(hours));
    let large = |bytes| root_span(&"x".repeat(bytes), hours_ago(1));
    for (spans, expected) in [
        (vec![span(1), span(24)], Ok((2, 0))),
        (vec![span(1), span(26)], Err(400)),
        (vec![span(1); 10_001], Err(400)),
        (vec![large(190_000); 27], Err(413)),
        (vec![large(200_000), span(1)], Ok((1, 1))),
        (vec![span(13 * 24)], Ok((1, 0))),
        (vec![span(14 * 24 + 1)], Ok((0, 1))),
        (vec![root_span("early", now + Duration::from_secs(3 * 3_600))], Ok((0, 1))),
    ] {
        let (status, body, stored) = Xray::answer_to_spans(&request_of(spans.into_iter()), now);

        let found = match status {
            200 => {
                let reply = ExportTraceServiceResponse::decode(&*body).expect("an OTLP answer");
                let rejected = reply.partial_success.map_or(0, |partial| partial.rejected_spans);
                Ok((stored, rejected))
            }
            status => Err(status),
        };
        assert_eq!(found, expected);
    }
}
