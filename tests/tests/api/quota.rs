//! Write quotas: each user's own, counted before the write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use cruddur_tests::proxy::{cancelled, error};
use cruddur_tests::{Answer, Event, Reply, Store, event, eventually};
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

/// How many activities were published in each window; all other replies are refusals.
fn published(replies: &[Reply]) -> BTreeMap<i64, usize> {
    let mut published: BTreeMap<i64, usize> = BTreeMap::new();
    for reply in replies {
        match reply.status {
            200 => {
                let created_at = text(&reply.json["created_at"]).parse().unwrap();
                *published.entry(window(created_at)).or_default() += 1;
            }
            503 => assert_eq!(reply.json, json!(["store_busy"])),
            _ => assert_exceeded(reply),
        }
    }
    published
}

/// How DynamoDB answers a transaction that meets others: one in three conflicts, and those whose
/// text begins with `stuck` always do. One in ten that count in a quota finds it exceeded.
fn disturbed(operation: &str, body: &Value, number: usize) -> Answer {
    let writes = body["TransactItems"].as_array().map_or(0, Vec::len);
    let codes = |code| {
        let mut codes = vec!["None"; writes];
        codes[0] = code;
        cancelled(&codes)
    };
    let text = body.to_string();
    match operation {
        "TransactWriteItems" if text.contains("\"stuck") => codes("TransactionConflict"),
        "TransactWriteItems" if number.is_multiple_of(3) => codes("TransactionConflict"),
        "TransactWriteItems" if text.contains("QUOTA#") && number.is_multiple_of(10) => {
            codes("ConditionalCheckFailed")
        }
        "BatchWriteItem" | "BatchGetItem" if number.is_multiple_of(7) => {
            error(400, "ThrottlingException")
        }
        _ => Answer::Proper,
    }
}

#[tokio::test]
async fn of_a_hundred_writes_in_conflict_at_most_sixty_succeed_and_the_others_write_nothing() {
    let (store, proxy) = Store::behind_proxy().await;
    let number = AtomicUsize::new(0);
    proxy.refuse(move |operation, body| {
        disturbed(operation, body, number.fetch_add(1, Ordering::Relaxed))
    });
    let api = Api::over(store).with_quota("60,600");
    let sandboxes = join_all((0..4).map(|_| api.start("create-activity"))).await;

    let writes = (0..100).zip(sandboxes.iter().cycle()).map(|(n, sandbox)| {
        let word = if n % 25 < 2 { "stuck" } else { "free" };
        let body = json!({"message": format!("{word} {n}"), "ttl": "7-days"});
        sandbox.invoke(request_of("worf", "create-activity").json(&body))
    });
    let replies = join_all(writes).await;

    proxy.refuse(|_, _| Answer::Proper);
    let published = published(&replies);
    assert!(published.values().all(|count| (1..=60).contains(count)), "{published:?}");
    let statuses = |status| replies.iter().filter(|reply| reply.status == status).count();
    assert!(statuses(503) > 0 && statuses(429) > 0, "{} and {}", statuses(503), statuses(429));
    let feed = event("show-activities").path_parameter("key", "@worf").query("limit", "100");
    let feed = api.get("show-activities", feed).await;
    let mut found: Vec<&str> =
        feed.as_array().unwrap().iter().map(|one| text(&one["message"])).collect();
    let succeeded = replies.iter().filter(|reply| reply.status == 200);
    let mut expected: Vec<&str> = succeeded.map(|reply| text(&reply.json["message"])).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let profile = event("user-profile").path_parameter("handle", "worf");
    assert_eq!(api.get("user-profile", profile).await["activities_count"], expected.len());
    let roots = api.store.dump().await.iter().filter(|item| item.contains("\"ROOT\"")).count();
    assert_eq!(roots, expected.len());
}

async fn of_a_hundred_writes_at_once_at_most_sixty_succeed_and_the_others_write_nothing(api: Api) {
    let api = api.with_quota("60,600");
    let sandboxes = join_all((0..4).map(|_| api.start("create-activity"))).await;

    let writes = (0..100).zip(sandboxes.iter().cycle());
    let replies =
        join_all(writes.map(|(_, sandbox)| sandbox.invoke(request_of("worf", "create-activity"))))
            .await;

    let published = published(&replies);
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
