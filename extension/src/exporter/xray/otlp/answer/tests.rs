use bytes::Bytes;
use http::HeaderMap;
use std::time::Duration;

use super::*;
use crate::otlp::edit::push_message;

const OFF: &str = "The OTLP API is supported with CloudWatch Logs as a Trace Segment Destination. Please \
    enable the CloudWatch Logs destination for your traces using the UpdateTraceSegmentDestination API";

fn reply(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Bytes>,
) -> HttpReply {
    let pairs = headers.iter().map(|(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    });
    HttpReply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::from_iter(pairs),
        body: body.into(),
    }
}

/// An encoded `google.rpc.Status`.
fn rpc_status(message: &str) -> Vec<u8> {
    let mut status = vec![0x08, 3];
    push_message(&mut status, 2, message.as_bytes());
    status
}

fn json(message: &str) -> Vec<u8> {
    serde_json::json!({ "message": message }).to_string().into()
}

#[test]
fn transaction_search_that_is_off_closes_the_endpoint_in_every_form_of_the_answer() {
    let code = [("x-amzn-errortype", "InvalidRequestException:http://internal")];
    let mut xml = format!("<Error><Message>{OFF}</Message></Error>").into_bytes();
    xml.insert(0, b'\n');
    for (headers, body) in [
        (&[][..], rpc_status(OFF)),
        (&code, rpc_status(OFF)),
        (&[], json(OFF)),
        (&code, json(OFF)),
        (&[], OFF.into()),
        (&[], xml),
        (&[], json("TraceSegmentDestination is XRay")),
    ] {
        let Err(OtlpRefusal::Closed(error)) =
            rejected_spans(&reply(400, headers, body.clone()), SystemTime::now())
        else {
            panic!("{}", String::from_utf8_lossy(&body))
        };

        let text = error.to_string();
        assert!(text.contains("aws xray update-trace-segment-destination"), "{text}");
        assert!(!text.contains(char::is_control), "{text}");
    }
}

#[test]
fn a_403_closes_the_endpoint_only_if_it_denies_the_role() {
    let denied = "User: arn:aws:sts::1:assumed-role/token-clock/f is not authorized to perform: \
                  xray:PutSpans";
    for (code, message, is_closed) in [
        ("AccessDeniedException", denied, true),
        ("", denied, true),
        ("AccessDeniedException", "Access denied", true),
        ("AccessDenied", "Request has expired", false),
        ("InvalidSignatureException", "Signature expired: 20261130T101500Z", false),
        ("InvalidSignatureException", "The request signature we calculated does not match", false),
        ("UnrecognizedClientException", "The security token included is invalid", false),
        ("ExpiredTokenException", "The security token included in the request is expired", false),
        ("MissingAuthenticationTokenException", "Missing Authentication Token", false),
        ("", "The security token included in the request is invalid.", false),
        ("", "", false),
    ] {
        let body =
            serde_json::json!({ "__type": format!("com.amazon#{code}"), "Message": message });
        for body in [body.to_string().into_bytes(), rpc_status(&format!("{code} {message}"))] {
            let refusal = rejected_spans(&reply(403, &[], body), SystemTime::now()).unwrap_err();

            let found = matches!(refusal, OtlpRefusal::Closed(_));
            assert_eq!(found, is_closed, "{code}: {message}: {refusal:?}");
            let (OtlpRefusal::Closed(error) | OtlpRefusal::Failed(error)) = refusal;
            assert!(error.is_denied() && !error.is_final(), "{error}");
        }
    }
}

#[test]
fn a_wrong_signature_that_is_answered_400_is_no_fault_of_the_batch() {
    let headers = [("x-amzn-errortype", "InvalidSignatureException")];

    let refusal = rejected_spans(&reply(400, &headers, json("late")), SystemTime::now());

    let Err(OtlpRefusal::Failed(error)) = refusal else { panic!("{refusal:?}") };
    assert!(error.is_denied() && !error.is_final(), "{error}");
}

#[test]
fn throttling_and_server_errors_are_retried_after_the_time_that_they_name() {
    for (status, code) in [
        (429, ""),
        (400, "ThrottlingException"),
        (502, ""),
        (503, ""),
        (504, ""),
        (400, "ServiceUnavailableException"),
    ] {
        let headers = [("retry-after", "7"), ("x-amzn-errortype", code)];

        let refusal = rejected_spans(&reply(status, &headers, rpc_status("")), SystemTime::now());

        let Err(OtlpRefusal::Failed(error)) = refusal else { panic!("{status}: {refusal:?}") };
        assert!(!error.is_final(), "{status} {code}: {error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{status} {code}");
    }
}

#[test]
fn other_refusals_are_final_and_an_endpoint_without_the_path_is_closed() {
    for status in [400, 413, 415] {
        let refusal = rejected_spans(&reply(status, &[], rpc_status("bad")), SystemTime::now());
        let Err(OtlpRefusal::Failed(error)) = refusal else { panic!("{status}: {refusal:?}") };
        assert!(error.is_final() && error.is_about_content(), "{error}");
        assert!(error.to_string().ends_with(": bad"), "{error}");
    }
    for status in [404, 405] {
        let refusal = rejected_spans(&reply(status, &[], "{}"), SystemTime::now());
        assert!(matches!(refusal, Err(OtlpRefusal::Closed(_))), "{status}: {refusal:?}");
    }
}

#[test]
fn a_success_is_complete_or_partial_and_not_a_page() {
    for (body, expected) in [
        (&b""[..], 0),
        (b"{}", 0),
        (br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"old"}}"#, 2),
        (b"\x0a\x02\x08\x03", 3),
    ] {
        assert_eq!(rejected_spans(&reply(200, &[], body), SystemTime::now()).unwrap(), expected);
    }
    let page = rejected_spans(&reply(200, &[], "<html>"), SystemTime::now());
    assert!(matches!(page, Err(OtlpRefusal::Failed(ExportError::ForeignReply(_)))), "{page:?}");
}
