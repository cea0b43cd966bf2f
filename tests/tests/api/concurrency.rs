//! Many requests at once, served by several environments of a function as Lambda would start them.

use std::collections::BTreeSet;

use cruddur_tests::{Event, Reply, Sandbox, event, eventually};
use futures_util::future::join_all;
use serde_json::json;

use super::{Api, request_of, text};

on_both_stores! {
    fifty_likes_of_one_user_count_one,
    likes_of_fifty_users_count_fifty,
    two_hundred_activities_at_once_all_appear_once,
    two_requests_with_one_idempotency_key_at_once_store_one,
    first_messages_of_two_to_each_other_make_one_conversation,
}

/// Environments for each function under load; what there is of the machine is busy with them.
const ENVIRONMENTS: usize = 4;

/// Sends all at once; each environment takes its share one after the other, the shares in parallel.
async fn at_once(api: &Api, function: &str, events: Vec<Event>) -> Vec<Reply> {
    let starting = (0..ENVIRONMENTS.min(events.len())).map(|_| api.start(function));
    let sandboxes: Vec<Sandbox> = join_all(starting).await;
    let sending = events.into_iter().zip(sandboxes.iter().cycle());
    join_all(sending.map(|(event, sandbox)| sandbox.invoke(event))).await
}

async fn new_activity(api: &Api) -> String {
    let event = request_of("data", "create-activity");
    text(&api.get("create-activity", event).await["uuid"]).to_owned()
}

async fn likes_of(api: &Api, activity: &str) -> serde_json::Value {
    let shown =
        api.get("show-activities", event("show-activities").path_parameter("key", activity));
    shown.await[0]["likes_count"].clone()
}

fn all_are_200(replies: &[Reply]) {
    for reply in replies {
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
}

async fn fifty_likes_of_one_user_count_one(api: Api) {
    let activity = new_activity(&api).await;

    let like = request_of("worf", "like-activity").path_parameter("key", &activity);
    let replies = at_once(&api, "like-activity", vec![like; 50]).await;

    all_are_200(&replies);
    assert!(replies.iter().all(|reply| reply.json["liked"] == true), "{replies:?}");
    assert_eq!(likes_of(&api, &activity).await, 1);
}

async fn likes_of_fifty_users_count_fifty(api: Api) {
    let activity = new_activity(&api).await;

    let like =
        |n| request_of(&format!("user {n}"), "like-activity").path_parameter("key", &activity);
    let replies = at_once(&api, "like-activity", (0..50).map(like).collect()).await;

    all_are_200(&replies);
    assert_eq!(likes_of(&api, &activity).await, 50);
}

async fn two_hundred_activities_at_once_all_appear_once(api: Api) {
    let activity = |n| {
        let body = json!({"message": format!("activity {n} of many"), "ttl": "1-hour"});
        request_of(&format!("user {}", n % 8), "create-activity").json(&body)
    };

    let replies = at_once(&api, "create-activity", (0..200).map(activity).collect()).await;

    all_are_200(&replies);
    let made: BTreeSet<&str> = replies.iter().map(|reply| text(&reply.json["uuid"])).collect();
    assert_eq!(made.len(), 200);
    let home = || pages(&api, "home-activities", event("home-activities").query("limit", "100"));
    let home = eventually(home, |uuids| uuids.len() == 200).await;
    let search = event("search-activities").query("term", "many").query("limit", "100");
    let search = pages(&api, "search-activities", search).await;
    for list in [home, search] {
        assert_eq!(list.len(), 200);
        assert_eq!(list.iter().map(String::as_str).collect::<BTreeSet<_>>(), made);
    }
}

/// The ids of a whole list, along its links.
async fn pages(api: &Api, function: &str, first: Event) -> Vec<String> {
    let mut uuids = Vec::new();
    let mut event = first.clone();
    loop {
        let reply = api.call(function, event).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let page = reply.json.as_array().unwrap().iter();
        uuids.extend(page.map(|one| text(&one["uuid"]).to_owned()));
        if !reply.headers.contains_key("link") {
            return uuids;
        }
        event = first.clone().query("cursor", &super::bad_input::next_cursor(&reply));
    }
}

async fn two_requests_with_one_idempotency_key_at_once_store_one(api: Api) {
    let key = ("idempotency-key", "5b7a0d0e-7a3f-4a55-9a3e-000000000001");
    let request = request_of("worf", "create-activity").header(key.0, key.1);

    let replies = at_once(&api, "create-activity", vec![request.clone(); 2]).await;
    let later = api.call("create-activity", request).await;

    all_are_200(&replies);
    assert_eq!(replies[0].body, replies[1].body);
    assert_eq!((later.status, &later.body), (200, &replies[0].body));
    let feed = event("show-activities").path_parameter("key", "@worf");
    let feed = api.get("show-activities", feed).await;
    assert_eq!(feed.as_array().unwrap().len(), 1, "{feed}");
}

async fn first_messages_of_two_to_each_other_make_one_conversation(api: Api) {
    for user in ["worf", "data"] {
        api.get("create-activity", request_of(user, "create-activity")).await;
    }

    let message = |n: usize| {
        let (from, to) = if n.is_multiple_of(2) { ("worf", "data") } else { ("data", "worf") };
        let body = json!({"message": "Hello", "user_receiver_handle": to});
        request_of(from, "create-message").json(&body)
    };
    let replies = at_once(&api, "create-message", (0..12).map(message).collect()).await;

    all_are_200(&replies);
    for (reader, other) in [("worf", "@data"), ("data", "@worf")] {
        let conversation = request_of(reader, "show-messages").path_parameter("key", other);
        let messages = api.get("show-messages", conversation).await;
        assert_eq!(messages.as_array().unwrap().len(), 12);
        let groups = || api.get("message-groups", request_of(reader, "message-groups"));
        let groups = eventually(groups, |groups| groups.as_array().map(Vec::len) == Some(1)).await;
        assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
    }
}
