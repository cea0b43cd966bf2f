use serde_json::json;

use super::*;
use crate::test_support::HOME_EVENT as HOME;

#[test]
fn the_sample_event_becomes_a_request() {
    let request = Request::from_event(HOME).unwrap();

    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.path(), "/api/activities/home");
    assert_eq!(request.scheme(), "https");
    assert!(request.header("X-Amzn-Trace-Id").unwrap().starts_with("Root=1-"));
}

#[test]
fn an_event_that_is_no_request_is_an_error_even_where_the_library_panics() {
    let odd_query = HOME.replace("\"rawQueryString\": \"", "\"rawQueryString\": \"a b");
    assert_ne!(odd_query, HOME);
    for event in ["{}", "[]", "null", "\"GET /\"", odd_query.as_str()] {
        let error = Request::from_event(event).unwrap_err();

        assert_eq!(error.status_and_code().1, "malformed_event", "{event}");
    }
}

fn with(change: impl FnOnce(&mut serde_json::Value)) -> Request {
    let mut event = serde_json::from_str(HOME).unwrap();
    change(&mut event);
    Request::from_event(&event.to_string()).unwrap()
}

#[test]
fn odd_headers_refuse_nothing_and_the_others_stay() {
    for (name, value) in [
        ("x-forwarded-proto", json!("https,http")),
        ("x-forwarded-proto", json!("gopher")),
        ("x-forwarded-proto", json!("://")),
        ("x-forwarded-proto", json!(["https", "http"])),
        ("host", json!("ab:cd:")),
        ("host", json!("999.999.999.999:99999")),
        ("host", json!("xn--\u{e4}, b")),
        ("host", json!("")),
        ("Host", json!("[::1]:9000")),
        ("x-odd", json!(null)),
        ("x-odd", json!(7)),
        ("x-odd", json!({"a": []})),
        ("x-odd", json!("line\nbreak")),
        ("x odd\u{e4}", json!("value")),
        ("", json!("value")),
    ] {
        let request = with(|event| {
            let _ = event["headers"].as_object_mut().unwrap().remove("host");
            event["headers"][name] = value.clone();
        });

        assert_eq!(request.path(), "/api/activities/home", "{name}: {value}");
        assert!(request.has_header("traceparent") || request.has_header("x-amzn-trace-id"));
    }
    for (list, scheme) in [
        ("https,http", "https"),
        ("HTTPS", "https"),
        ("http, https", "http"),
        ("gopher", "http"),
        ("", "http"),
    ] {
        let request = with(|event| event["headers"]["x-forwarded-proto"] = list.into());
        assert_eq!(request.scheme(), scheme, "{list}");
    }
    assert_eq!(
        with(|event| event["headers"]["host"] = "a_b:x".into()).header("host"),
        Some("a_b:x")
    );
}

#[test]
fn parts_of_an_event_that_are_not_read_refuse_nothing() {
    for (part, value) in [
        ("cookies", json!([1, null])),
        ("stageVariables", json!({"a": 1})),
        ("httpMethod", json!(7)),
        ("pathParameters", json!({"a": 1})),
        ("pathParameters", json!([])),
        ("queryStringParameters", json!({"a": null})),
        ("headers", json!(null)),
        ("isBase64Encoded", json!(false)),
    ] {
        with(|event| event[part] = value);
    }
    for (part, value) in [
        ("authentication", json!("x")),
        ("domainName", json!("a:b:c")),
        ("timeEpoch", json!("never")),
        ("accountId", json!(123456789012_u64)),
        ("authorizer", json!(null)),
        ("authorizer", json!({"lambda": 1, "iam": 2})),
    ] {
        let request = with(|event| event["requestContext"][part] = value);
        assert!(request.claims().is_none());
    }
}

#[test]
fn claims_that_are_not_texts_are_ignored() {
    let claims = json!({"sub": "user-1", "nonce": null, "exp": 1, "email_verified": true,
                        "cognito:groups": ["a"], "address": {"country": "x"}});
    let jwt = json!({"jwt": {"claims": claims, "scopes": {"odd": 1}}});

    let request = with(|event| event["requestContext"]["authorizer"] = jwt);

    let claims = request.claims().unwrap();
    assert_eq!((claims.len(), claims["sub"].as_str()), (1, "user-1"));
    for claims in [json!(null), json!([]), json!("x")] {
        let jwt = json!({"jwt": {"claims": claims}});
        let request = with(|event| event["requestContext"]["authorizer"] = jwt);
        assert!(request.claims().unwrap().is_empty());
    }
}

#[test]
fn claims_that_are_not_texts_are_left_out_and_refuse_nothing() {
    let mut event: serde_json::Value = serde_json::from_str(HOME).unwrap();
    event["requestContext"]["authorizer"] = json!({"jwt": {"scopes": null, "claims": {
        "sub": "user-1", "exp": 1_795_168_800, "rate": 1.5, "email_verified": true,
        "nonce": null, "groups": ["a"], "address": {"country": "CA"}, "username": 7,
    }}});

    let request = Request::from_event(&event.to_string()).unwrap();

    let claims = HashMap::from([("sub".to_owned(), "user-1".to_owned())]);
    assert_eq!(request.claims(), Some(&claims));
}

#[test]
fn a_method_of_another_route_is_refused_with_the_ones_there_are() {
    let route = Route::new(&["PUT", "DELETE"], "/x");

    let error = route.check(&Request::from_event(HOME).unwrap()).unwrap_err();

    let reply = serde_json::to_value(error.reply()).unwrap();
    assert_eq!(reply["statusCode"], 405);
    assert_eq!(reply["body"], "[\"method_not_allowed\"]");
    assert_eq!(reply["headers"]["allow"], "PUT, DELETE");
}

#[test]
fn a_body_is_an_object_and_not_an_array_of_its_values() {
    #[derive(Debug, Deserialize)]
    struct Body {
        message: String,
    }
    let read = |json| serde_json::from_str::<Object<Body>>(json).map(|Object(body)| body);

    assert_eq!(read(r#"{"message":"m"}"#).unwrap().message, "m");
    assert!(read(r#"["m"]"#).unwrap_err().to_string().contains("expected an object"));
    assert!(read(r#"{"message":"m","message":"n"}"#).is_err());
}
