//! Every file in `events/` gives the reply that the table says, on the demo data.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cruddur_tests::{event, function_of, functions};
use serde_json::{Value, json};

use super::Api;

on_both_stores! { every_sample_event_is_answered_as_the_table_says }

/// A file, the status, and a part of the reply (by JSON pointer). In an order in which what one
/// writes is there for the next.
pub(crate) fn table() -> Vec<(&'static str, u16, &'static str, Value)> {
    let (nobody, andrew) = (json!(["generic_401"]), json!("andrewbrown"));
    let activity = json!("bdd640fb-0667-4ad1-9c80-317fa3b1799d"); // of the demo data
    let group = json!("9e05a9f7-ad2d-4557-875c-1c1f0903bc26");
    vec![
        ("health-check", 200, "", json!({"success": true, "ver": 1})),
        ("rollbar-test", 200, "", Value::Null), // no JSON: see below
        ("rollbar-test-without-claims", 401, "", nobody.clone()),
        ("browser-traces", 503, "", json!(["traces_not_taken"])), // there is no extension here
        ("home-activities", 200, "/0/uuid", activity.clone()),
        ("home-activities-head", 200, "", Value::Null), // no body
        ("search-activities", 200, "/0/expires_at", Value::Null),
        ("show-activities", 200, "/0/handle", andrew.clone()),
        ("show-activities-encoded", 200, "/0/handle", andrew.clone()),
        ("show-activities-by-id", 200, "/0/uuid", activity.clone()),
        ("show-status", 200, "/activity/uuid", activity.clone()),
        ("show-status-encoded", 200, "/activity/handle", andrew.clone()),
        ("user-profile", 200, "/activities_count", json!(1)),
        ("user-profile-encoded", 200, "/replies_count", json!(1)),
        ("user-short", 200, "/handle", andrew.clone()),
        ("user-short-encoded", 200, "/handle", andrew),
        ("notifications-activities", 200, "", json!([])),
        ("notifications-activities-without-claims", 401, "", nobody.clone()),
        ("create-activity", 200, "/handle", json!("delenn")),
        ("create-activity-without-claims", 401, "", nobody.clone()),
        ("reply-activity", 200, "/reply_to_activity_uuid", activity),
        ("reply-activity-without-claims", 401, "", nobody.clone()),
        ("like-activity", 200, "/liked", json!(true)),
        ("like-activity-delete", 200, "/liked", json!(false)),
        ("like-activity-without-claims", 401, "", nobody.clone()),
        ("delete-activity", 200, "/deleted", json!(true)),
        ("delete-activity-without-claims", 401, "", nobody.clone()),
        ("create-message", 200, "/message_group_uuid", group.clone()),
        ("create-message-to-group", 200, "/message_group_uuid", group.clone()),
        ("create-message-without-claims", 401, "", nobody.clone()),
        ("show-messages", 200, "/1/message_group_uuid", group.clone()),
        ("show-messages-encoded", 200, "/1/message_group_uuid", group.clone()),
        ("show-messages-by-id", 200, "/1/message_group_uuid", group.clone()),
        ("show-messages-without-claims", 401, "", nobody.clone()),
        ("message-groups", 200, "/0/uuid", group),
        ("message-groups-without-claims", 401, "", nobody.clone()),
        ("update-profile", 200, "/display_name", json!("Delenn")),
        ("update-profile-put", 200, "/display_name", json!("Delenn of Mir")),
        ("update-profile-without-claims", 401, "", nobody),
    ]
}

async fn every_sample_event_is_answered_as_the_table_says(api: Api) {
    api.store.seed();

    for (file, status, part, expected) in table() {
        let reply = api.call(function_of(file), event(file)).await;

        assert_eq!(reply.status, status, "{file}: {}", reply.body);
        let found = reply.json.pointer(part).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{file}: {}", reply.body);
        if file == "rollbar-test" {
            assert_eq!(reply.body, "Hello World!");
        }
    }
}

#[test]
fn no_sample_event_is_left_out_and_no_function_is_without_one() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let files = fs::read_dir(directory).unwrap().flatten();
    let files: BTreeSet<String> =
        files.map(|file| file.file_name().into_string().unwrap().replace(".json", "")).collect();

    let in_table: BTreeSet<String> = table().iter().map(|row| row.0.to_owned()).collect();
    let functions_in_table: BTreeSet<String> =
        table().iter().map(|row| function_of(row.0).to_owned()).collect();

    assert_eq!(in_table, files);
    assert_eq!(functions_in_table, BTreeSet::from_iter(functions()));
}
