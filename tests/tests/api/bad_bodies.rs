//! Rows of the bad-input table about bodies: their form, then their content.

use cruddur_tests::Event;
use serde_json::{Value, json};

use super::bad_input::{Row, World, no_texts};
use super::request_of;

/// The routes that take a body, each with one that it takes.
pub(super) fn writers(world: &World) -> [(&'static str, Event, Value); 4] {
    let reply = request_of("worf", "reply-activity").path_parameter("key", &world.activity);
    [
        (
            "create-activity",
            request_of("worf", "create-activity"),
            json!({"message": "Today is a good day", "ttl": "7-days"}),
        ),
        ("reply-activity", reply, json!({"message": "Indeed"})),
        (
            "create-message",
            request_of("worf", "create-message"),
            json!({"message": "Hello", "user_receiver_handle": "data"}),
        ),
        (
            "update-profile",
            request_of("worf", "update-profile"),
            json!({"display_name": "Worf", "bio": "Son of Mogh"}),
        ),
    ]
}

pub(super) fn rows(world: &World) -> Vec<Row> {
    let mut rows = Vec::new();
    for (function, event, body) in writers(world) {
        rows.extend(forms(function, &event, &body));
        rows.extend(content_types(function, &event.clone().json(&body)));
        if function != "update-profile" {
            rows.extend(messages(function, &event, &body));
        }
    }
    rows.extend(ttls());
    rows.extend(receivers(world));
    rows.extend(profiles());
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

/// What is no JSON object.
fn forms(function: &'static str, event: &Event, body: &Value) -> Vec<Row> {
    let malformed = (400, "malformed_json");
    let good = body.to_string();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let (first_name, first) = body.as_object().unwrap().iter().next().unwrap();
    let values = Value::from(body.as_object().unwrap().values().cloned().collect::<Vec<_>>());
    let texts = [
        ("an empty body", String::new()),
        ("blanks", "  \n".to_owned()),
        ("broken JSON", good[..good.len() - 1].to_owned()),
        ("something behind the JSON", format!("{good} x")),
        ("a number", "7".to_owned()),
        ("a text", "\"text\"".to_owned()),
        ("null", "null".to_owned()),
        ("an array", values.to_string()), // in the order of the fields, as a tuple would be
        ("an empty array", "[]".to_owned()),
        ("a lone surrogate", format!("{{\"{first_name}\":\"\\ud800\"}}")),
        ("a raw NUL", format!("{{\"{first_name}\":\"\0\"}}")),
        ("duplicate keys", format!("{{\"{first_name}\":{first},{}", &good[1..])),
        ("a deep value", format!("{{\"{first_name}\":{}}}", deep(10_000))),
        ("deep JSON", deep(10_000)),
    ];
    let mut rows: Vec<Row> = texts
        .into_iter()
        .map(|(name, text)| row(function, name, event.clone().body(&text), malformed))
        .collect();
    let latin_1 = "eyJtZXNzYWdlIjoi/yIsImJpbyI6Iv8ifQ=="; // {"message":"\xff","bio":"\xff"}
    rows.push(row(function, "no UTF-8", event.clone().body(latin_1).is_base64(), malformed));
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(7 << 20));
    rows.push(row(function, "7 MB", event.clone().body(&large), (413, "body_too_large")));
    let no_base64 = event.clone().body("{\"message\"").is_base64();
    rows.push(row(function, "broken base64", no_base64, (400, "malformed_event")));
    rows
}

fn content_types(function: &'static str, event: &Event) -> Vec<Row> {
    let unsupported = (415, "unsupported_media_type");
    let mut rows = vec![row(
        function,
        "no content type",
        event.clone().without_header("content-type"),
        unsupported,
    )];
    for other in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "json"]
    {
        let event = event.clone().header("content-type", other);
        rows.push(row(function, format!("content type {other:?}"), event, unsupported));
    }
    rows
}

/// A body with one field replaced, or taken away.
fn with(body: &Value, name: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let fields = body.as_object_mut().unwrap();
    match value {
        Some(value) => drop(fields.insert(name.to_owned(), value)),
        None => drop(fields.remove(name)),
    }
    body
}

fn messages(function: &'static str, event: &Event, body: &Value) -> Vec<Row> {
    let most = if function == "create-activity" { 280 } else { 1024 };
    let blank = (422, "message_blank");
    let too_long = (422, "message_exceed_max_chars");
    let mut rows = Vec::new();
    let mut add = |name: &str, value: Option<Value>, expected| {
        let event = event.clone().json(&with(body, "message", value));
        rows.push(row(function, format!("message {name}"), event, expected));
    };
    add("missing", None, blank);
    add("empty", Some("".into()), blank);
    for (name, value) in no_texts() {
        add(name, Some(value), blank);
    }
    add("one too long", Some("x".repeat(most + 1).into()), too_long);
    add("one emoji too long", Some("🖖".repeat(most + 1).into()), too_long);
    add(
        "one combining mark too long",
        Some(format!("{}e\u{301}", "x".repeat(most - 1)).into()),
        too_long,
    );
    add("of blanks one too long", Some(" ".repeat(most + 1).into()), too_long);
    // The original's checks overwrite each other, and the message's comes last.
    let empty = event.clone().json(&json!({}));
    rows.push(row(function, "everything missing", empty, blank));
    rows
}

fn ttls() -> Vec<Row> {
    let (function, blank) = ("create-activity", (422, "ttl_blank"));
    let body = json!({"message": "Today is a good day", "ttl": "7-days"});
    let texts = ["", " ", "8-days", "7-Days", "7 days", " 7-days", "7-days\0", "604800"];
    let texts = texts.map(|text| (text.to_owned(), Some(Value::from(text))));
    let others = no_texts().into_iter().map(|(name, value)| (name.to_owned(), Some(value)));
    let all = texts.into_iter().chain(others).chain([("missing".to_owned(), None)]);
    all.map(|(name, value)| {
        let event = request_of("worf", function).json(&with(&body, "ttl", value));
        row(function, format!("ttl {name:?}"), event, blank)
    })
    .collect()
}

fn receivers(world: &World) -> Vec<Row> {
    let function = "create-message";
    let blank = (422, "user_reciever_handle_blank"); // the original's spelling
    let mut rows = Vec::new();
    let mut add = |name: &str, field: &str, value: Option<Value>, expected| {
        let body = with(&json!({"message": "Hello"}), field, value);
        let event = request_of("worf", function).json(&body);
        rows.push(row(function, format!("{field} {name}"), event, expected));
    };
    let handle = "user_receiver_handle";
    add("missing", handle, None, blank);
    for (name, text) in [("empty", ""), ("blank", " "), ("a bare @", "@")] {
        add(name, handle, Some(text.into()), blank);
    }
    for (name, value) in no_texts() {
        add(name, handle, Some(value), blank);
    }
    let no_user = (404, "user_not_found");
    for (name, text) in [
        ("unknown", "nobody".to_owned()),
        ("no handle", "a/b?c#d%e".to_owned()),
        ("of 10,000 characters", "x".repeat(10_000)),
        ("with NUL", "da\0ta".to_owned()),
    ] {
        add(name, handle, Some(text.into()), no_user);
    }
    let no_group = (404, "message_group_not_found");
    for (name, text) in [
        ("malformed", "not-a-uuid"),
        ("unknown", "6b1e4a3c-0000-4000-8000-000000000000"),
        ("of others", &world.others_group),
        ("of an activity", &world.activity),
    ] {
        add(name, "message_group_uuid", Some(text.into()), no_group);
    }
    rows
}

fn profiles() -> Vec<Row> {
    let function = "update-profile";
    let body = json!({"display_name": "Worf", "bio": "Son of Mogh"});
    let mut rows = Vec::new();
    let mut add = |name: &str, field: &str, value: Option<Value>, expected| {
        let event = request_of("worf", function).json(&with(&body, field, value));
        rows.push(row(function, format!("{field} {name}"), event, expected));
    };
    let blank = (422, "display_name_blank");
    let invalid = (422, "display_name_invalid");
    add("missing", "display_name", None, blank);
    add("empty", "display_name", Some("".into()), blank);
    add("blank", "display_name", Some(" \t ".into()), blank);
    for (name, value) in no_texts() {
        add(name, "display_name", Some(value), blank);
    }
    add("that shows nothing", "display_name", Some("\u{200b}\u{3164}".into()), invalid);
    add("that turns the text", "display_name", Some("\u{202e}evil".into()), invalid);
    add("with NUL", "display_name", Some("a\0b".into()), invalid);
    add("in two lines", "display_name", Some("a\nb".into()), invalid);
    let name_too_long = (422, "display_name_exceed_max_chars");
    add("too long", "display_name", Some("🖖".repeat(65).into()), name_too_long);
    add("too long", "bio", Some("🖖".repeat(281).into()), (422, "bio_exceed_max_chars"));
    for (name, value) in no_texts().into_iter().filter(|(_, value)| !value.is_null()) {
        add(name, "bio", Some(value), (422, "bio_invalid"));
    }
    rows
}
