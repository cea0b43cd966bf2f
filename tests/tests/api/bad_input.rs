//! What is refused, row by row, and that nothing is written then.

use std::collections::BTreeMap;
use std::io::Write;

use cruddur_tests::Event;
use serde_json::{Value, json};

use super::{Api, bad_bodies, bad_requests, request_of, text};

on_both_stores! { what_is_refused_changes_nothing }

/// A request, and what it is answered with.
pub(super) struct Row {
    pub(super) function: &'static str,
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) status: u16,
    pub(super) code: &'static str,
}

/// What is in the store that rows may refer to. The rows are requests of `worf`.
pub(super) struct World {
    /// An activity of `data`.
    pub(super) activity: String,
    /// The conversation of `data` and `q`.
    pub(super) others_group: String,
    /// A cursor of the home feed, and one of the feed of `data`.
    pub(super) home_cursor: String,
    pub(super) feed_cursor: String,
}

async fn fill(api: &Api) -> World {
    let message = json!({"message": "I am functioning within parameters", "ttl": "1-hour"});
    for user in ["worf", "q"] {
        api.get("create-activity", request_of(user, "create-activity").json(&message)).await;
    }
    let create = || request_of("data", "create-activity").json(&message);
    api.get("create-activity", create()).await;
    let activity = api.get("create-activity", create()).await;
    let to_q = json!({"message": "Hello", "user_receiver_handle": "q"});
    let sent = api.get("create-message", request_of("data", "create-message").json(&to_q)).await;
    let used =
        request_of("worf", "create-activity").json(&message).header("idempotency-key", "used");
    api.get("create-activity", used).await;
    let home = request_of("worf", "home-activities").query("limit", "1");
    let feed = request_of("worf", "show-activities").path_parameter("key", "@data");
    World {
        activity: text(&activity["uuid"]).to_owned(),
        others_group: text(&sent["message_group_uuid"]).to_owned(),
        home_cursor: next_cursor(&api.call("home-activities", home).await),
        feed_cursor: next_cursor(&api.call("show-activities", feed.query("limit", "1")).await),
    }
}

/// The cursor out of the header `link`.
pub(super) fn next_cursor(reply: &cruddur_tests::Reply) -> String {
    let link = reply.headers.get("link").unwrap_or_else(|| panic!("no link: {reply:?}"));
    let (_, cursor) = link.split_once("cursor=").unwrap();
    cursor.split(['>', '&']).next().unwrap().to_owned()
}

async fn what_is_refused_changes_nothing(api: Api) {
    let world = fill(&api).await;
    let rows = bad_bodies::rows(&world).into_iter().chain(bad_requests::rows(&world));
    let mut before = api.store.dump().await;
    let mut wrong = Vec::new();
    let mut table: BTreeMap<(&str, u16, &str), Vec<String>> = BTreeMap::new();

    for Row { function, name, event, status, code } in rows {
        let reply = api.call(function, event).await;
        if (reply.status, &reply.json) != (status, &json!([code])) {
            let (got, body) = (reply.status, reply.body.chars().take(200).collect::<String>());
            wrong.push(format!("{function}, {name}: {got} {body}, not {status} {code}"));
        }
        let after = api.store.dump().await;
        if after != before {
            wrong.push(format!("{function}, {name}: the store has changed"));
            before = after;
        }
        table.entry((function, status, code)).or_default().push(name);
    }

    print(&table);
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// To the test's output, past the capture: it is a result, also where all is well.
fn print(table: &BTreeMap<(&str, u16, &str), Vec<String>>) {
    let mut out = std::io::stderr().lock();
    for ((function, status, code), names) in table {
        let _ = writeln!(out, "{function:<24} {status} {code:<30} {}", names.join("; "));
    }
}

/// `null` and values of every type but text, by name.
pub(super) fn no_texts() -> Vec<(&'static str, Value)> {
    vec![
        ("null", Value::Null),
        ("a number", json!(7)),
        ("true", json!(true)),
        ("a list", json!(["text"])),
        ("an object", json!({"text": "text"})),
    ]
}
