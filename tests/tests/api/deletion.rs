//! Deleted activities and replies: where they are gone, and what stays.

use cruddur_tests::{Event, Reply, event, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Api, request_of, text};

on_both_stores! {
    a_deleted_activity_is_on_no_list_and_its_replies_stay,
    a_deleted_reply_is_shown_as_gone_in_its_thread_and_counts_no_more,
    another_users_text_and_a_message_are_not_deleted,
    ten_deletions_at_once_delete_once,
}

async fn publish(api: &Api, user: &str, message: &str) -> Value {
    let body = json!({"message": message, "ttl": "7-days"});
    api.get("create-activity", request_of(user, "create-activity").json(&body)).await
}

async fn answer(api: &Api, user: &str, to: &Value, message: &str) -> Value {
    let event = about("reply-activity", user, to).json(&json!({"message": message}));
    api.get("reply-activity", event).await
}

fn about(function: &str, user: &str, entry: &Value) -> Event {
    request_of(user, function).path_parameter("key", text(&entry["uuid"]))
}

async fn delete(api: &Api, user: &str, entry: &Value) -> Reply {
    api.call("delete-activity", about("delete-activity", user, entry)).await
}

async fn show(api: &Api, entry: &Value) -> Reply {
    api.call("show-activities", about("show-activities", "q", entry)).await
}

async fn a_deleted_activity_is_on_no_list_and_its_replies_stay(api: Api) {
    let activity = publish(&api, "worf", "Qapla prune juice, @data").await;
    let reply = answer(&api, "data", &activity, "Indeed").await;
    let lists = || async {
        let found = event("search-activities").query("term", "prune");
        let feed = event("show-activities").path_parameter("key", "@worf");
        let notices = request_of("data", "notifications-activities");
        [
            api.get("home-activities", event("home-activities")).await,
            api.get("search-activities", found).await,
            api.get("show-activities", feed).await,
            api.get("notifications-activities", notices).await,
        ]
    };
    let full = |lists: &[Value; 4]| lists.iter().all(|list| list[0]["uuid"] == activity["uuid"]);
    assert!(full(&eventually(&lists, full).await));

    let deleted = delete(&api, "worf", &activity).await;
    let again = delete(&api, "worf", &activity).await;

    let uuid = &activity["uuid"];
    assert_eq!((deleted.status, deleted.json), (200, json!({"uuid": uuid, "deleted": true})));
    let missing = (404, json!(["activity_not_found"]));
    assert_eq!((again.status, again.json), missing);
    let empty = |lists: &[Value; 4]| lists.iter().all(|list| *list == json!([]));
    let left = eventually(lists, empty).await;
    assert!(empty(&left), "{left:?}");
    for function in ["show-activities", "like-activity", "reply-activity"] {
        let reply = api.call(function, about(function, "data", &activity)).await;
        assert_eq!((reply.status, reply.json), missing, "{function}");
    }
    let below = show(&api, &reply).await;
    assert_eq!((below.status, &below.json[0]["message"]), (200, &json!("Indeed")));
    let answered = answer(&api, "worf", &reply, "The thread goes on").await;
    assert_eq!(answered["reply_to_activity_uuid"], reply["uuid"]);
    assert!(!format!("{:?}", api.store.dump().await).contains("prune juice"));
}

async fn a_deleted_reply_is_shown_as_gone_in_its_thread_and_counts_no_more(api: Api) {
    let activity = publish(&api, "data", "Hello").await;
    let reply = answer(&api, "worf", &activity, "without honour").await;
    let below = answer(&api, "data", &reply, "Indeed").await;

    assert_eq!(delete(&api, "worf", &reply).await.status, 200);

    let home = || api.get("home-activities", event("home-activities"));
    let home = eventually(home, |home| home[0]["replies_count"] == 0).await;
    for shown in [show(&api, &activity).await.json, home] {
        assert_eq!(shown[0]["replies_count"], 0);
        let gone = &shown[0]["replies"][0];
        for (field, expected) in [
            ("uuid", &reply["uuid"]),
            ("handle", &json!("(gone)")),
            ("display_name", &json!("Gone")),
            ("message", &json!("")),
            ("deleted", &json!(true)),
            ("replies_count", &json!(1)),
        ] {
            assert_eq!(&gone[field], expected, "{field}");
        }
        assert_eq!(gone["replies"][0]["uuid"], below["uuid"]);
        assert_eq!(gone["replies"][0]["deleted"], Value::Null);
    }
    assert_eq!(show(&api, &reply).await.status, 404);
    let notices = request_of("data", "notifications-activities");
    assert_eq!(api.get("notifications-activities", notices).await, json!([]));
    assert_eq!(delete(&api, "data", &below).await.status, 200);
    let shown = show(&api, &activity).await.json;
    assert_eq!(shown[0]["replies"][0]["replies_count"], 0);
    assert_eq!(shown[0]["replies"][0]["replies"][0]["deleted"], true);
    assert!(!format!("{:?}", api.store.dump().await).contains("without honour"));
}

async fn another_users_text_and_a_message_are_not_deleted(api: Api) {
    let activity = publish(&api, "worf", "Hello").await;
    let reply = answer(&api, "data", &activity, "Indeed").await;
    let body = json!({"message": "Hello", "user_receiver_handle": "worf"});
    let message = api.get("create-message", request_of("data", "create-message").json(&body)).await;
    let before = api.store.dump().await;

    for (user, entry, status, code) in [
        ("data", &activity, 403, "not_the_author"),
        ("worf", &reply, 403, "not_the_author"),
        ("q", &reply, 403, "not_the_author"),
        ("data", &message, 404, "activity_not_found"),
    ] {
        let refused = delete(&api, user, entry).await;
        assert_eq!((refused.status, refused.json), (status, json!([code])), "{user}");
    }

    assert_eq!(api.store.dump().await, before);
}

async fn ten_deletions_at_once_delete_once(api: Api) {
    let activity = publish(&api, "data", "Hello").await;
    let kept = answer(&api, "q", &activity, "I stay").await;
    let reply = answer(&api, "worf", &activity, "Hello").await;
    let sandboxes = join_all((0..4).map(|_| api.start("delete-activity"))).await;

    let deletions = (0..10).zip(sandboxes.iter().cycle());
    let event = about("delete-activity", "worf", &reply);
    let replies = join_all(deletions.map(|(_, sandbox)| sandbox.invoke(event.clone()))).await;

    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort();
    assert_eq!(statuses, [&[200][..], &[404; 9]].concat());
    let shown = show(&api, &activity).await.json;
    assert_eq!(shown[0]["replies_count"], 1);
    assert_eq!(shown[0]["replies"][0]["uuid"], kept["uuid"]);
}
