//! What a caller notices of DynamoDB's bad days: as little as can be.

use std::time::{Duration, Instant};

use cruddur_tests::proxy::{cancelled, error};
use cruddur_tests::{Answer, Proxy, Sandbox, Store};
use serde_json::json;

use super::{Api, request_of};

const WRITE: &str = "TransactWriteItems";

/// A user who has written once, so that the next request is one transaction.
async fn start() -> (Api, Proxy) {
    let (store, proxy) = Store::behind_proxy().await;
    let api = Api::over(store);
    api.get("create-activity", request_of("worf", "create-activity")).await;
    (api, proxy)
}

async fn activities_of_worf(api: &Api) -> usize {
    let feed = request_of("q", "show-activities").path_parameter("key", "@worf");
    api.get("show-activities", feed).await.as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn an_activity_is_published_once_whatever_happens_to_its_transaction() {
    for (name, fault) in [
        ("conflict", cancelled(&["TransactionConflict"])),
        ("throttled", error(400, "ThrottlingException")),
        ("in progress", error(400, "TransactionInProgressException")),
        ("server error", error(500, "InternalServerError")),
        ("reset before it was done", Answer::Reset),
        ("reset after it was done", Answer::Lost),
        ("closed after it was done", Answer::Closed),
        ("not answered", Answer::Hang),
    ] {
        let (api, proxy) = start().await;
        let before = proxy.bodies(WRITE).len();
        proxy.next_answer(WRITE, fault);

        let reply = api.call("create-activity", request_of("worf", "create-activity")).await;

        assert_eq!(reply.status, 200, "{name}: {}", reply.body);
        assert_eq!(proxy.bodies(WRITE).len() - before, 2, "{name}");
        assert_eq!(activities_of_worf(&api).await, 2, "{name}");
    }
}

#[tokio::test]
async fn a_function_that_waits_for_its_store_answers_before_lambda_ends_it() {
    let (store, proxy) = Store::behind_proxy().await;
    let sandbox = Sandbox::builder("home-activities")
        .without_extension()
        .freezing(false)
        .function_timeout(Duration::from_secs(2))
        .store(&store)
        .start()
        .await;
    proxy.always(Answer::Hang);

    let reply = sandbox.invoke(request_of("worf", "home-activities")).await;

    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!((reply.status, reply.json), (503, json!(["timed_out"])));
    proxy.always(Answer::Proper);
    let next = sandbox.invoke(request_of("worf", "home-activities")).await;
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn a_store_that_never_answers_is_a_503_seconds_before_the_deadline() {
    let (api, proxy) = start().await;
    proxy.always(Answer::Hang);

    let asked = Instant::now();
    let reply = api.call("create-activity", request_of("worf", "create-activity")).await;

    let took = asked.elapsed();
    assert_eq!((reply.status, reply.json), (503, json!(["store_busy"])));
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_request_whose_answers_are_lost_is_done_once_and_counted_once() {
    let (store, proxy) = Store::behind_proxy().await;
    let api = Api::over(store).with_quota("1,1");
    api.get("update-profile", request_of("worf", "update-profile")).await;
    let request = request_of("worf", "create-activity").header("idempotency-key", "once");
    let before = proxy.bodies(WRITE).len();
    for answer in [Answer::Lost, Answer::Proper, Answer::Lost] {
        proxy.next_answer(WRITE, answer);
    }

    let first = api.call("create-activity", request.clone()).await;
    let again = api.call("create-activity", request).await;

    assert_eq!((first.status, again.status), (200, 200), "{} {}", first.body, again.body);
    assert_eq!(first.body, again.body);
    let tokens: Vec<String> = proxy.bodies(WRITE)[before..]
        .iter()
        .map(|body| body["ClientRequestToken"].to_string())
        .collect();
    assert_eq!(tokens.len(), 4, "{tokens:?}"); // the quota's transaction twice, the activity's twice
    assert!(tokens[0] == tokens[1] && tokens[2] == tokens[3], "{tokens:?}");
    assert_eq!(activities_of_worf(&api).await, 1);
}

#[tokio::test]
async fn a_store_that_refuses_is_a_500_and_a_busy_one_a_503_without_a_word_of_it() {
    for (name, fault, status, code, retry_after) in [
        ("denied", error(400, "AccessDeniedException"), 500, "generic_500", None),
        ("no table", error(400, "ResourceNotFoundException"), 500, "generic_500", None),
        ("busy", error(400, "ThrottlingException"), 503, "store_busy", Some("1")),
    ] {
        let (api, proxy) = start().await;
        proxy.always(fault);

        let write = api.call("create-activity", request_of("worf", "create-activity")).await;
        let read = api.call("home-activities", request_of("worf", "home-activities")).await;

        for reply in [write, read] {
            let found = reply.headers.get("retry-after").map(String::as_str);
            assert_eq!(found, retry_after, "{name}");
            assert_eq!((reply.status, reply.json), (status, json!([code])), "{name}");
        }
        proxy.always(Answer::Proper);
        assert_eq!(activities_of_worf(&api).await, 1, "{name}");
    }
}
