//! The form of replies: `HEAD`, validators, compression.

use cruddur_tests::{Event, event};
use serde_json::{Value, json};

use super::{Api, request_of, text};

on_both_stores! {
    head_is_get_without_a_body_on_every_route_that_is_read,
    a_public_reply_is_not_sent_again_while_it_is_the_same,
    private_replies_and_errors_are_not_stored,
    an_error_is_a_problem_for_clients_that_name_the_form,
    long_replies_are_compressed_for_clients_that_accept_it,
}

/// A request to each route that is read, and whether its reply is the same for every caller.
async fn reads(api: &Api) -> Vec<(&'static str, Event, bool)> {
    let activity = api.get("create-activity", request_of("worf", "create-activity")).await;
    api.get("create-activity", request_of("data", "create-activity")).await;
    let body = json!({"message": "Hello", "user_receiver_handle": "data"});
    api.get("create-message", request_of("worf", "create-message").json(&body)).await;
    let of = |function: &str, name: &str, value: &str| event(function).path_parameter(name, value);
    let private = |function: &str| request_of("worf", function);
    let status = of("show-status", "key", "@worf").path_parameter("uuid", text(&activity["uuid"]));
    vec![
        ("home-activities", event("home-activities"), true),
        ("search-activities", event("search-activities"), true),
        ("show-activities", of("show-activities", "key", "@worf"), true),
        ("show-activities", of("show-activities", "key", text(&activity["uuid"])), true),
        ("show-status", status, true),
        ("user-profile", of("user-profile", "handle", "worf"), true),
        ("user-short", of("user-short", "handle", "worf"), true),
        ("notifications-activities", private("notifications-activities"), false),
        ("message-groups", private("message-groups"), false),
        ("show-messages", private("show-messages").path_parameter("key", "@data"), false),
        ("health-check", event("health-check"), false),
        ("rollbar-test", private("rollbar-test"), false),
    ]
}

async fn head_is_get_without_a_body_on_every_route_that_is_read(api: Api) {
    for (function, request, _) in reads(&api).await {
        // Lists may be a moment behind the writes.
        let mut got = api.call(function, request.clone()).await;
        let mut head = api.call(function, request.clone().method("HEAD")).await;
        for reply in [&mut got, &mut head] {
            assert_eq!(reply.status, 200, "{function}: {}", reply.body);
            for name in ["traceparent", "x-amzn-trace-id"] {
                assert!(reply.headers.remove(name).is_some(), "{function}: {name}");
            }
        }

        assert_eq!(head.headers, got.headers, "{function}");
        assert_eq!((head.body_bytes, got.body_bytes > 0), (0, true), "{function}");
    }
    let missing = event("user-short").path_parameter("handle", "nobody").method("HEAD");
    let missing = api.call("user-short", missing).await;
    assert_eq!((missing.status, missing.body_bytes), (404, 0));
    let head = request_of("worf", "create-activity").method("HEAD");
    let head = api.call("create-activity", head).await;
    assert_eq!((head.status, head.body_bytes, &head.headers["allow"][..]), (405, 0, "POST"));
}

async fn a_public_reply_is_not_sent_again_while_it_is_the_same(api: Api) {
    for (function, request, is_public) in reads(&api).await {
        let first = api.call(function, request.clone()).await;
        let Some(tag) = first.headers.get("etag").filter(|_| is_public) else {
            assert_eq!((first.headers.get("etag"), is_public), (None, false), "{function}");
            continue;
        };
        assert_eq!(first.headers["cache-control"], "no-cache", "{function}");
        assert_eq!(first.headers["vary"], "accept-encoding", "{function}");
        for known in [tag.clone(), format!("\"x\", {tag}"), tag.replace("W/", ""), "*".to_owned()] {
            for method in ["GET", "HEAD"] {
                let again = request.clone().method(method).header("if-none-match", &known);
                let again = api.call(function, again).await;
                assert_eq!((again.status, again.body_bytes), (304, 0), "{function}: {known}");
                assert_eq!(again.headers["etag"], *tag, "{function}");
                assert_eq!(again.headers.get("content-type"), None, "{function}");
            }
        }
        let other = api.call(function, request.header("if-none-match", "W/\"x\"")).await;
        assert_eq!((other.status, other.body), (200, first.body), "{function}");
    }
    let worf = || event("user-profile").path_parameter("handle", "worf");
    let before = api.call("user-profile", worf()).await.headers["etag"].clone();
    let renamed = json!({"display_name": "Lt. Worf"});
    api.get("update-profile", request_of("worf", "update-profile").json(&renamed)).await;
    let changed = api.call("user-profile", worf().header("if-none-match", &before)).await;
    assert_eq!((changed.status, &changed.json["display_name"]), (200, &json!("Lt. Worf")));
    assert_ne!(changed.headers["etag"], before);
}

async fn private_replies_and_errors_are_not_stored(api: Api) {
    let mut requests: Vec<(&str, Event)> = reads(&api)
        .await
        .into_iter()
        .filter(|(.., is_public)| !is_public)
        .map(|it| (it.0, it.1))
        .collect();
    requests.push(("create-activity", request_of("worf", "create-activity")));
    requests.push(("home-activities", event("home-activities").query("limit", "0")));
    requests.push(("user-short", event("user-short").path_parameter("handle", "nobody")));
    requests.push(("message-groups", event("message-groups").claims(Value::Null)));
    for (function, request) in requests {
        let reply = api.call(function, request.header("if-none-match", "*")).await;

        assert_eq!(reply.headers["cache-control"], "no-store", "{function}");
        assert_eq!(reply.headers.get("etag"), None, "{function}");
        assert_ne!(reply.status, 304, "{function}");
    }
}

async fn an_error_is_a_problem_for_clients_that_name_the_form(api: Api) {
    let long = json!({"message": "x".repeat(281), "ttl": "1-hour"});
    let blank = event("search-activities").query("term", " ");
    for (function, request, status, title, code) in [
        (
            "user-short",
            event("user-short").path_parameter("handle", "x"),
            404,
            "Not Found",
            "user_not_found",
        ),
        ("search-activities", blank, 422, "Unprocessable Entity", "search_term_blank"),
        (
            "create-activity",
            request_of("worf", "create-activity").json(&long),
            422,
            "Unprocessable Entity",
            "message_exceed_max_chars",
        ),
        (
            "create-activity",
            event("create-activity").claims(Value::Null),
            401,
            "Unauthorized",
            "generic_401",
        ),
        (
            "home-activities",
            event("home-activities").method("PATCH"),
            405,
            "Method Not Allowed",
            "method_not_allowed",
        ),
    ] {
        let plain =
            api.call(function, request.clone().header("accept", "application/json, */*")).await;
        let accept = "application/json, application/problem+json;q=0.5";
        let problem = api.call(function, request.header("accept", accept)).await;

        assert_eq!((plain.status, &plain.json), (status, &json!([code])), "{function}");
        assert_eq!(plain.headers["content-type"], "application/json");
        assert_eq!(problem.status, status, "{function}: {}", problem.body);
        assert_eq!(problem.headers["content-type"], "application/problem+json", "{function}");
        let detail = text(&problem.json["detail"]);
        assert!(!detail.is_empty() && !detail.contains("xxx"), "{detail}");
        let trace_id = problem.headers["traceparent"].split('-').nth(1);
        let expected = json!({
            "type": "about:blank", "title": title, "status": status, "detail": detail,
            "code": code, "trace_id": trace_id,
        });
        assert_eq!(problem.json, expected, "{function}");
    }
    let fine = event("health-check").header("accept", "application/problem+json");
    let fine = api.call("health-check", fine).await;
    assert_eq!((fine.status, &fine.headers["content-type"][..]), (200, "application/json"));
}

async fn long_replies_are_compressed_for_clients_that_accept_it(api: Api) {
    for _ in 0..20 {
        let body = json!({"message": "x".repeat(280), "ttl": "1-hour"});
        api.get("create-activity", request_of("worf", "create-activity").json(&body)).await;
    }
    let feed = |limit: &str, coding: &str| {
        let feed = event("show-activities").path_parameter("key", "@worf").query("limit", limit);
        feed.header("accept-encoding", coding)
    };
    let plain = api.call("show-activities", feed("20", "identity")).await;
    let short = api.call("show-activities", feed("1", "gzip")).await;
    let compressed = api.call("show-activities", feed("20", "br, gzip;q=0.5")).await;

    assert_eq!(plain.json.as_array().map(Vec::len), Some(20));
    for reply in [&plain, &short] {
        assert_eq!(reply.headers.get("content-encoding"), None);
    }
    assert_eq!(compressed.headers["content-encoding"], "gzip");
    assert!(compressed.body_bytes * 2 < plain.body_bytes, "{}", compressed.body_bytes);
    assert_eq!(compressed.body, plain.body);
    assert_eq!(compressed.headers["etag"], plain.headers["etag"]);
    let refused = api.call("show-activities", feed("20", "gzip;q=0, *")).await;
    assert_eq!(refused.headers.get("content-encoding"), None);
}
