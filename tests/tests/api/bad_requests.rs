//! Rows of the bad-input table about all but bodies: events, methods, callers, paths and queries.

use cruddur_tests::{Event, event, functions, raw_event};
use serde_json::{Value, json};

use super::bad_bodies::writers;
use super::bad_input::{Row, World};
use super::request_of;

pub(super) fn rows(world: &World) -> Vec<Row> {
    let mut rows = events_and_methods();
    rows.extend(callers(world));
    rows.extend(paths());
    rows.extend(limits_and_cursors(world));
    rows.extend(search_terms());
    rows.extend(idempotency_keys(world));
    rows
}

fn row(
    function: &'static str,
    name: impl Into<String>,
    event: Event,
    (status, code): (u16, &'static str),
) -> Row {
    Row { function, name: name.into(), event, status, code }
}

fn all_functions() -> Vec<&'static str> {
    functions().into_iter().map(|name| &*name.leak()).collect()
}

fn events_and_methods() -> Vec<Row> {
    let mut rows = Vec::new();
    let payloads = [json!({}), json!([]), Value::Null, json!("GET /"), json!({"version": "2.0"})];
    for function in all_functions() {
        for payload in &payloads {
            let name = format!("the event {payload}");
            rows.push(row(function, name, raw_event(payload.clone()), (400, "malformed_event")));
        }
        for method in ["PATCH", "get", "BREW"] {
            let event = request_of("worf", function).method(method);
            let name = format!("the method {method}");
            rows.push(row(function, name, event, (405, "method_not_allowed")));
        }
    }
    rows
}

/// Every route that is private, or writes, with a request that would succeed.
fn private_requests(world: &World) -> Vec<(&'static str, Event)> {
    let with_bodies = writers(world).map(|(function, event, body)| (function, event.json(&body)));
    let like = request_of("worf", "like-activity").path_parameter("key", &world.activity);
    let mut all = Vec::from(with_bodies);
    all.push(("like-activity", like));
    let delete = request_of("worf", "delete-activity").path_parameter("key", &world.activity);
    all.push(("delete-activity", delete));
    for function in ["notifications-activities", "message-groups", "show-messages"] {
        all.push((function, request_of("worf", function)));
    }
    all
}

fn callers(world: &World) -> Vec<Row> {
    let nobody = (401, "generic_401");
    let mut rows = Vec::new();
    for (function, event) in private_requests(world) {
        let claims = |claims: Value| event.clone().claims(claims);
        rows.push(row(function, "no claims", claims(Value::Null), nobody));
        rows.push(row(function, "no claims, forged headers", forged(claims(Value::Null)), nobody));
        rows.push(row(function, "no sub", claims(json!({"username": "worf"})), nobody));
        let blank_sub = claims(json!({"sub": " ", "username": "worf"}));
        rows.push(row(function, "blank sub", blank_sub, nobody));
        let long_sub = claims(json!({"sub": "x".repeat(10_000), "username": "worf"}));
        rows.push(row(function, "sub of 10,000 characters", long_sub, nobody));
        // Conversations and texts belong to the sub alone, so reading or deleting them needs no
        // handle.
        if !["message-groups", "show-messages", "delete-activity"].contains(&function) {
            for (name, handle, code) in [
                ("no handle", Value::Null, "user_handle_blank"),
                ("blank handle", " ".into(), "user_handle_blank"),
                ("handle that is no path part", "a/b".into(), "user_handle_invalid"),
                ("handle with a backslash", "a\\b".into(), "user_handle_invalid"),
                ("handle of one point", ".".into(), "user_handle_invalid"),
                ("handle of two points", "..".into(), "user_handle_invalid"),
                ("handle with NUL", "a\0b".into(), "user_handle_invalid"),
                ("handle with a blank of no width", "wo\u{200b}rf".into(), "user_handle_invalid"),
                ("handle with an @", "@new".into(), "user_handle_invalid"),
                ("handle of wide letters", "ｎew".into(), "user_handle_invalid"),
                ("handle with a blank behind it", "new ".into(), "user_handle_invalid"),
                (
                    "handle of 10,000 characters",
                    "x".repeat(10_000).into(),
                    "user_handle_exceed_max_chars",
                ),
            ] {
                let mut claim = json!({"sub": "sub-x"});
                if !handle.is_null() {
                    claim["username"] = handle;
                }
                rows.push(row(function, name, claims(claim), (422, code)));
            }
            if function != "notifications-activities" {
                let claim = json!({"sub": "sub-x", "username": "x", "name": "\u{202e}evil"});
                let invalid = (422, "display_name_invalid");
                rows.push(row(function, "name that turns the text", claims(claim), invalid));
            }
            let thief = event.clone().caller("sub-thief", "Data");
            rows.push(row(function, "handle of another", thief, (409, "user_handle_taken")));
        }
    }
    rows
}

/// Everything that a gateway, a proxy or a framework might be believed to have said.
fn forged(event: Event) -> Event {
    let token = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzdWItd29yZiIsInVzZXJuYW1lIjoid29yZiJ9.";
    [
        ("authorization", token),
        ("x-user-id", "sub-worf"),
        ("x-forwarded-user", "worf"),
        ("x-amzn-oidc-identity", "sub-worf"),
        (
            "x-apigateway-event",
            r#"{"requestContext":{"authorizer":{"jwt":{"claims":{"sub":"sub-worf"}}}}}"#,
        ),
        (
            "x-amzn-request-context",
            r#"{"authorizer":{"jwt":{"claims":{"sub":"sub-worf","username":"worf"}}}}"#,
        ),
    ]
    .into_iter()
    .fold(event, |event, (name, value)| event.header(name, value))
}

fn paths() -> Vec<Row> {
    let mut rows = Vec::new();
    let long = "x".repeat(10_000);
    let none = [
        ("malformed uuid", "not-a-uuid"),
        ("unknown uuid", "6b1e4a3c-0000-4000-8000-000000000000"),
        ("empty", ""),
        ("NUL", "\0"),
        ("10,000 characters", &long),
    ];
    for (function, code) in [
        ("show-activities", "activity_not_found"),
        ("reply-activity", "activity_not_found"),
        ("like-activity", "activity_not_found"),
        ("delete-activity", "activity_not_found"),
        ("show-status", "activity_not_found"),
        ("show-messages", "message_group_not_found"),
    ] {
        for (name, key) in none {
            let event = request_of("worf", function).path_parameter("key", key);
            rows.push(row(function, format!("key {name}"), event, (404, code)));
        }
    }
    for function in ["reply-activity", "like-activity", "delete-activity"] {
        let event = request_of("worf", function).path_parameter("key", "@data");
        rows.push(row(function, "key a handle", event, (404, "activity_not_found")));
    }
    let (blank, no_user) = ((422, "blank_user_handle"), (404, "user_not_found"));
    let at_long = format!("@{long}");
    for (parameter, function) in [
        ("key", "show-activities"),
        ("key", "show-messages"),
        ("key", "show-status"),
        ("handle", "user-short"),
        ("handle", "user-profile"),
    ] {
        for (name, handle, expected) in [
            ("a bare @", "@", blank),
            ("a blank", "@ ", blank),
            ("10,000 characters", &at_long, no_user),
            ("a slash", "@a/b", no_user),
            ("a direction", "@a\u{202e}b", no_user),
        ] {
            let event = request_of("worf", function).path_parameter(parameter, handle);
            rows.push(row(function, format!("handle {name}"), event, expected));
        }
    }
    for uuid in ["not-a-uuid", "@worf", "", "6b1e4a3c-0000-4000-8000-000000000000"] {
        let event =
            event("show-status").path_parameter("key", "@data").path_parameter("uuid", uuid);
        rows.push(row("show-status", format!("uuid {uuid:?}"), event, (404, "activity_not_found")));
    }
    for function in ["user-short", "user-profile"] {
        let unknown = event(function).path_parameter("handle", "nobody");
        rows.push(row(function, "handle unknown", unknown, no_user));
    }
    rows
}

/// The routes that list something, each with a request that would succeed.
fn lists() -> Vec<(&'static str, Event)> {
    let of_data = |function| request_of("worf", function).path_parameter("key", "@data");
    vec![
        ("home-activities", request_of("worf", "home-activities")),
        ("notifications-activities", request_of("worf", "notifications-activities")),
        ("search-activities", request_of("worf", "search-activities")),
        ("show-activities", of_data("show-activities")),
        ("message-groups", request_of("worf", "message-groups")),
        ("show-messages", of_data("show-messages")),
        ("show-messages", request_of("worf", "show-messages").path_parameter("key", "@nobody")),
    ]
}

fn limits_and_cursors(world: &World) -> Vec<Row> {
    let (no_limit, no_cursor) = ((400, "invalid_limit"), (400, "invalid_cursor"));
    let World { home_cursor, feed_cursor, .. } = world;
    let mut other_letter = home_cursor.clone();
    let last = if other_letter.ends_with('A') { "Q" } else { "A" };
    other_letter.replace_range(other_letter.len() - 1.., last);
    let mut rows = Vec::new();
    for (function, event) in lists() {
        for limit in ["0", "-1", "ten", "", "1.5", "1e2", "-99999999999999999999"] {
            let event = event.clone().query("limit", limit);
            rows.push(row(function, format!("limit {limit:?}"), event, no_limit));
        }
        let mut cursors = vec![
            ("empty", "".to_owned()),
            ("no base64", "!!!".to_owned()),
            ("base64 of nothing", "AAAA".to_owned()),
            ("cut", home_cursor[..home_cursor.len() / 2].to_owned()),
            ("changed", other_letter.clone()),
            ("of 10,000 characters", "A".repeat(10_000)),
            ("with NUL", "\0".to_owned()),
        ];
        if function != "home-activities" {
            cursors.push(("of home", home_cursor.clone()));
        }
        if function != "show-activities" {
            cursors.push(("of a feed", feed_cursor.clone()));
        }
        let long = event.clone().query("term", &"!".repeat(3_000));
        rows.push(row(function, "a URL of 9,000 bytes", long, (414, "url_too_long")));
        for (name, cursor) in cursors {
            let event = event.clone().query("cursor", &cursor);
            rows.push(row(function, format!("cursor {name}"), event, no_cursor));
        }
    }
    let others_feed = event("show-activities").path_parameter("key", "@worf");
    let others_feed = others_feed.query("cursor", feed_cursor);
    rows.push(row("show-activities", "cursor of another's feed", others_feed, no_cursor));
    rows
}

fn search_terms() -> Vec<Row> {
    let function = "search-activities";
    let terms = [("empty", ""), ("blank", " "), ("blank with tabs", " \t\n")];
    let mut rows: Vec<Row> = terms
        .map(|(name, term)| {
            let event = event(function).query("term", term);
            row(function, format!("term {name}"), event, (422, "search_term_blank"))
        })
        .into();
    let mut payload = event(function).payload().clone();
    payload["queryStringParameters"] = Value::Null;
    payload["rawQueryString"] = "".into();
    rows.push(row(function, "term missing", raw_event(payload), (422, "search_term_blank")));
    rows
}

fn idempotency_keys(world: &World) -> Vec<Row> {
    let invalid = (400, "invalid_idempotency_key");
    let mut rows = Vec::new();
    for (function, event, body) in writers(world) {
        let event = event.json(&body);
        for (name, key) in
            [("empty", ""), ("blank", "  "), ("too long", &"x".repeat(256)), ("not ASCII", "é")]
        {
            let event = event.clone().header("idempotency-key", key);
            rows.push(row(function, format!("idempotency key {name}"), event, invalid));
        }
    }
    let (function, event, body) = writers(world).into_iter().next().unwrap();
    let other_body = event.json(&body).header("idempotency-key", "used");
    let reused = (422, "idempotency_key_reused");
    rows.push(row(function, "idempotency key of another body", other_body, reused));
    rows
}
