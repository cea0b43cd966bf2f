//! Write quotas: each user's own, counted before the write.

use std::collections::BTreeMap;

use cruddur_tests::{Event, Reply, event, eventually};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Api, request_of, text};

on_both_stores! {
    of_a_hundred_writes_at_once_at_most_sixty_succeed_and_the_others_write_nothing,
    each_kind_has_its_quota_and_a_replay_uses_none,
}

/// The window of ten minutes in which a time is.
fn window(time: Timestamp) -> i64 {
    time.as_second() / 600
}

fn assert_exceeded(reply: &Reply) {
    assert_eq!((reply.status, &reply.json), (429, &json!(["write_quota_exceeded"])));
    let seconds: u64 = reply.headers["retry-after"].parse().unwrap();
    assert!((1..=600).contains(&seconds), "{seconds}");
}

async fn of_a_hundred_writes_at_once_at_most_sixty_succeed_and_the_others_write_nothing(api: Api) {
    let api = api.with_quota("60,600");
    let sandboxes = join_all((0..4).map(|_| api.start("create-activity"))).await;

    let writes = (0..100).zip(sandboxes.iter().cycle());
    let replies =
        join_all(writes.map(|(_, sandbox)| sandbox.invoke(request_of("worf", "create-activity"))))
            .await;

    let mut published: BTreeMap<i64, usize> = BTreeMap::new();
    for reply in &replies {
        match reply.status {
            200 => {
                let created_at = text(&reply.json["created_at"]).parse().unwrap();
                *published.entry(window(created_at)).or_default() += 1;
            }
            503 => assert_eq!(reply.json, json!(["store_busy"])),
            _ => assert_exceeded(reply),
        }
    }
    assert!(published.values().all(|count| (1..=60).contains(count)), "{published:?}");
    let total: usize = published.values().sum();
    let feed = event("show-activities").path_parameter("key", "@worf").query("limit", "100");
    let feed = || api.get("show-activities", feed.clone());
    let all = |feed: &Value| feed.as_array().map(Vec::len) == Some(total);
    assert!(all(&eventually(feed, all).await), "{published:?}");
    let profile = event("user-profile").path_parameter("handle", "worf");
    assert_eq!(api.get("user-profile", profile).await["activities_count"], total);
}

/// Sends the requests of a user, and gives the replies if all of them were in one window.
async fn in_one_window(api: &Api, requests: Vec<(&str, Event)>) -> Option<Vec<Reply>> {
    let began = window(Timestamp::now());
    let mut replies = Vec::new();
    for (function, request) in requests {
        replies.push(api.call(function, request).await);
    }
    (window(Timestamp::now()) == began).then_some(replies)
}

async fn each_kind_has_its_quota_and_a_replay_uses_none(api: Api) {
    let api = api.with_quota("2,3");
    let activity = api.get("create-activity", request_of("data", "create-activity")).await;
    for attempt in 0..3 {
        let user = format!("worf {attempt}");
        let about = |function: &str, method: &str| {
            let event = request_of(&user, function).path_parameter("key", text(&activity["uuid"]));
            event.method(method)
        };
        let once = || request_of(&user, "create-activity").header("idempotency-key", "once");
        let body = json!({"message": "Hello", "user_receiver_handle": "data"});
        let message = || request_of(&user, "create-message").json(&body);
        let requests = vec![
            ("create-activity", once()),
            ("create-activity", once()),
            ("create-activity", once()),
            ("reply-activity", about("reply-activity", "POST")),
            ("reply-activity", about("reply-activity", "POST")),
            ("create-activity", request_of(&user, "create-activity")),
            ("create-activity", once()),
            ("like-activity", about("like-activity", "PUT")),
            ("like-activity", about("like-activity", "DELETE")),
            ("create-message", message()),
            ("create-message", message()),
            ("like-activity", about("like-activity", "PUT")),
            ("update-profile", request_of(&user, "update-profile")),
        ];
        let Some(replies) = in_one_window(&api, requests).await else { continue };
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 429, 429, 200, 200, 200, 200, 429, 429, 200]);
        replies.iter().filter(|reply| reply.status == 429).for_each(assert_exceeded);
        assert_eq!(replies[0].body, replies[6].body);
        let before = api.store.dump().await;
        let again = about("reply-activity", "POST");
        if let Some(replies) = in_one_window(&api, vec![("reply-activity", again)]).await {
            assert!(replies[0].status == 200 || api.store.dump().await == before);
        }
        return;
    }
    panic!("three attempts took ten minutes each");
}
