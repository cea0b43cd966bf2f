//! Users who rename themselves, users who are gone, and items that cannot be read, in replies.

use cruddur::domain::UserKey;
use cruddur::store::{Consistency, Item, Table, Write, keys};
use cruddur_tests::{Event, event, eventually};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Api, request_of, text};

on_both_stores! {
    a_new_handle_and_name_are_on_old_texts,
    a_deleted_user_is_gone_on_every_list,
    an_unreadable_item_is_left_out_of_a_list_logged_once_and_fails_alone,
}

fn key_of(user: &str) -> UserKey {
    UserKey::of_token("", &format!("sub-{user}")).unwrap()
}

/// An activity of worf, a reply of worf to it, and a message of worf to data.
async fn fill(api: &Api) -> Value {
    api.get("create-activity", request_of("data", "create-activity")).await;
    let body = json!({"message": "Qapla from worf", "ttl": "7-days"});
    let created = request_of("worf", "create-activity").json(&body);
    let activity = api.get("create-activity", created).await;
    let reply = request_of("worf", "reply-activity").path_parameter("key", text(&activity["uuid"]));
    api.get("reply-activity", reply.json(&json!({"message": "Hello @data"}))).await;
    let body = json!({"message": "Hello", "user_receiver_handle": "data"});
    let message = api.get("create-message", request_of("worf", "create-message").json(&body)).await;
    json!([activity["uuid"], message["message_group_uuid"]])
}

/// The names of worf on every list that data reads: handle and display name, where there is one.
async fn names(api: &Api, ids: &Value) -> Vec<(Value, Value)> {
    let group = request_of("data", "show-messages").path_parameter("key", text(&ids[1]));
    let shown = event("show-activities").path_parameter("key", text(&ids[0]));
    let found = event("search-activities").query("term", "qapla");
    let notified = request_of("data", "notifications-activities");
    let home = api.get("home-activities", event("home-activities")).await;
    let home = home.as_array().unwrap().iter().find(|one| one["uuid"] == ids[0]);
    let home = home.cloned().unwrap_or_default();
    let shown = api.get("show-activities", shown).await;
    let lists = [
        home["replies"][0].clone(),
        home,
        shown[0]["replies"][0].clone(),
        shown[0].clone(),
        api.get("search-activities", found).await[0].clone(),
        api.get("notifications-activities", notified).await[0].clone(),
        api.get("message-groups", request_of("data", "message-groups")).await[0].clone(),
        api.get("show-messages", group).await[0].clone(),
    ];
    lists
        .into_iter()
        .map(|entry| (entry["handle"].clone(), entry["display_name"].clone()))
        .collect()
}

/// Reads the names until all lists have these.
async fn assert_names(api: &Api, ids: &Value, handle: &str, name: &str) {
    let expected = |(found, display_name): &(Value, Value)| {
        *found == *handle && (display_name.is_null() || *display_name == *name)
    };
    let all = |names: &Vec<_>| names.iter().all(expected);
    let names = eventually(|| names(api, ids), all).await;
    assert!(all(&names), "{names:?}");
}

async fn a_new_handle_and_name_are_on_old_texts(api: Api) {
    let ids = fill(&api).await;
    assert_names(&api, &ids, "worf", "worf").await;

    let claims = json!({
        "sub": "sub-worf", "username": "worf", "preferred_username": "ambassador",
    });
    let body = json!({"display_name": "Ambassador Worf"});
    let update = event("update-profile").claims(claims).json(&body);
    let updated = api.get("update-profile", update).await;

    assert_eq!(updated["uuid"], json!(key_of("worf")));
    assert_names(&api, &ids, "ambassador", "Ambassador Worf").await;
    let feed = |handle: &str| event("show-activities").path_parameter("key", handle);
    for handle in ["@worf", "@ambassador"] {
        let feed = api.get("show-activities", feed(handle)).await;
        assert_eq!((&feed[0]["uuid"], &feed[0]["handle"]), (&ids[0], &json!("ambassador")));
    }
}

async fn a_deleted_user_is_gone_on_every_list(api: Api) {
    let ids = fill(&api).await;
    assert_names(&api, &ids, "worf", "worf").await;

    let delete = [Write::DeleteExisting(keys::user(key_of("worf")))];
    api.store.table().transact_write(&delete, Timestamp::now()).await.unwrap();

    assert_names(&api, &ids, "(gone)", "Gone").await;
    for path in ["@worf", "@(gone)"] {
        let feed = event("show-activities").path_parameter("key", path);
        assert_eq!(api.get("show-activities", feed).await, json!([]), "{path}");
        let short = event("user-short").path_parameter("handle", path);
        assert_eq!(api.call("user-short", short).await.status, 404, "{path}");
    }
    let reserved = request_of("thief", "create-activity");
    let reserved = reserved.claims(json!({"sub": "sub-thief", "username": "(Gone)"}));
    let refused = api.call("create-activity", reserved).await;
    assert_eq!((refused.status, refused.json), (422, json!(["user_handle_invalid"])));
    let to_gone = json!({"message": "Where are you?", "message_group_uuid": ids[1]});
    api.get("create-message", request_of("data", "create-message").json(&to_gone)).await;
}

async fn damage(table: &dyn Table, uuid: &Value) {
    let uuid: Uuid = text(uuid).parse().unwrap();
    let (key, now) = ([keys::activity(uuid)], Timestamp::now());
    let read = table.get(&key, Consistency::Strong, now).await.unwrap().remove(0);
    let mut item: Item = read.unwrap();
    item.attributes.insert("author".to_owned(), json!("a text of a user"));
    table.put_each(&[item]).await.unwrap();
}

async fn an_unreadable_item_is_left_out_of_a_list_logged_once_and_fails_alone(api: Api) {
    let mut uuids = Vec::new();
    for _ in 0..3 {
        let created = api.get("create-activity", request_of("worf", "create-activity")).await;
        uuids.insert(0, created["uuid"].clone());
    }
    let home = || api.get("home-activities", event("home-activities"));
    eventually(home, |home| home.as_array().map(Vec::len) == Some(3)).await;
    damage(api.store.table(), &uuids[0]).await;
    damage(api.store.table(), &uuids[2]).await;

    let sandbox = api.start("home-activities").await;
    let reply = sandbox.invoke(event("home-activities")).await;

    let left: Vec<&Value> = reply.json.as_array().unwrap().iter().map(|one| &one["uuid"]).collect();
    assert_eq!((reply.status, left), (200, vec![&uuids[1]]));
    let line = sandbox.function_log("unreadable items").await;
    assert_eq!((&line["level"], &line["unreadable"]), (&json!("WARN"), &json!(2)));
    assert!(!line.to_string().contains("a text of a user"), "{line}");
    let lines = sandbox.function_log_lines();
    assert_eq!(lines.iter().filter(|line| line.contains("unreadable items")).count(), 1);
    let one =
        |uuid: &Value| -> Event { event("show-activities").path_parameter("key", text(uuid)) };
    assert_eq!(api.call("show-activities", one(&uuids[0])).await.status, 500);
    assert_eq!(api.call("show-activities", one(&uuids[1])).await.status, 200);
}
