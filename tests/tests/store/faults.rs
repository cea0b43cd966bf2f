//! What DynamoDB does now and then, said by the proxy; what was done about it, from its record.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cruddur::store::Order::Ascending;
use cruddur_tests::proxy::{cancelled, error};
use cruddur_tests::{Answer, Proxy, Store};
use serde_json::Value;

use super::*;

const WRITE: &str = "TransactWriteItems";

/// Below it, a function can still say that it failed: its timeout is 10 s.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(10);

/// One item to be counted on.
async fn start() -> (Store, Proxy) {
    let (store, proxy) = Store::behind_proxy().await;
    put(store.connect().as_ref(), [item("p", "count")]).await;
    (store, proxy)
}

/// Something that would show if it were done twice, or not at all.
fn creation() -> [Write; 2] {
    [Write::Insert(item("p", "new")), add(key("p", "count"), "n", 1)]
}

async fn assert_done_once(store: &Store, name: &str) {
    assert_eq!(get(store.table(), key("p", "count")).await.unwrap().attributes["n"], 1, "{name}");
    assert_eq!(get(store.table(), key("p", "new")).await, Some(item("p", "new")), "{name}");
}

/// The attempts since `start`, whose own write is left out.
fn attempts(proxy: &Proxy) -> Vec<Value> {
    proxy.bodies(WRITE).split_off(1)
}

#[tokio::test]
async fn a_write_that_finds_the_table_busy_is_tried_again_and_done_once() {
    for (name, busy) in [
        ("conflict", cancelled(&["None", "TransactionConflict"])),
        ("throttled item", cancelled(&["ThrottlingError", "None"])),
        ("throughput of an item", cancelled(&["ProvisionedThroughputExceeded", "None"])),
        ("in progress", error(400, "TransactionInProgressException")),
        ("throttled", error(400, "ThrottlingException")),
        ("throughput", error(400, "ProvisionedThroughputExceededException")),
        ("limit", error(400, "RequestLimitExceeded")),
        ("server error", error(500, "InternalServerError")),
        ("no JSON at all", Answer::status(500)),
        ("unavailable", error(503, "ServiceUnavailable")),
        ("reset", Answer::Reset),
    ] {
        let (store, proxy) = start().await;
        proxy.next_answer(WRITE, busy.clone());
        proxy.next_answer(WRITE, busy);

        write(store.table(), &creation()).await.unwrap();

        let attempts = attempts(&proxy);
        assert_eq!(attempts.len(), 3, "{name}");
        assert_done_once(&store, name).await;
    }
}

#[tokio::test]
async fn a_write_whose_reply_is_lost_is_repeated_under_its_token_and_done_once() {
    for lost in [Answer::Lost, Answer::Closed] {
        let (store, proxy) = start().await;
        proxy.next_answer(WRITE, lost.clone());

        write(store.table(), &creation()).await.unwrap();

        let attempts = attempts(&proxy);
        assert_eq!(attempts.len(), 2, "{lost:?}");
        assert!(attempts[0]["ClientRequestToken"].is_string());
        assert_done_once(&store, &format!("{lost:?}")).await;
    }
}

#[tokio::test]
async fn a_repeated_write_is_the_same_to_the_byte() {
    let (store, proxy) = start().await;
    for _ in 0..3 {
        proxy.next_answer(WRITE, error(400, "ThrottlingException"));
    }
    let letters = ('a'..='z').map(|letter| (letter.to_string().repeat(3), json!(letter)));
    let full = Item { attributes: letters.collect(), ..item("p", "full") };
    let set = full.attributes.clone();
    let update = Update { key: key("p", "count"), add: vec![("n", 1)], set, listing: None };

    write(store.table(), &[Write::Insert(full), Write::Update(update)]).await.unwrap();

    let requests = proxy.requests();
    let is_write = |one: &&cruddur_tests::Recorded| one.operation() == Some(WRITE);
    let bodies: Vec<Bytes> = requests.iter().filter(is_write).map(|one| one.body.clone()).collect();
    assert_eq!(bodies.len(), 5); // the first one made the item that is counted on
    assert!(bodies[2..].iter().all(|body| *body == bodies[1]));
}

#[tokio::test]
async fn two_equal_writes_are_two_and_have_two_tokens() {
    let (store, proxy) = start().await;

    for _ in 0..2 {
        write(store.table(), &[add(key("p", "count"), "n", 1)]).await.unwrap();
    }

    let attempts = attempts(&proxy);
    assert_ne!(attempts[0]["ClientRequestToken"], attempts[1]["ClientRequestToken"]);
    assert_eq!(get(store.table(), key("p", "count")).await.unwrap().attributes["n"], 2);
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_given_up_and_repeated() {
    let (store, proxy) = start().await;
    proxy.next_answer(WRITE, Answer::Hang);

    let started = Instant::now();
    write(store.table(), &creation()).await.unwrap();

    assert!(started.elapsed() < FUNCTION_TIMEOUT / 2, "{:?}", started.elapsed());
    assert_eq!(attempts(&proxy).len(), 2);
    assert_done_once(&store, "hang").await;
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let (store, proxy) = start().await;
    let late = Duration::from_millis(300);
    proxy.next_answer(WRITE, Answer::late(late));

    let started = Instant::now();
    write(store.table(), &creation()).await.unwrap();

    assert!(started.elapsed() >= late);
    assert_eq!(attempts(&proxy).len(), 1);
}

#[tokio::test]
async fn an_unmet_condition_is_not_tried_again_even_beside_a_conflict() {
    let (store, proxy) = start().await;
    proxy.next_answer(WRITE, cancelled(&["ConditionalCheckFailed", "TransactionConflict"]));

    let error = write(store.table(), &creation()).await.unwrap_err();

    assert!(error.is_condition_of(0) && !error.is_condition_of(1), "{error:?}");
    assert_eq!(attempts(&proxy).len(), 1);
}

#[tokio::test]
async fn what_will_not_get_better_is_tried_once() {
    for (name, refusal) in [
        ("denied", error(400, "AccessDeniedException")),
        ("no such table", error(400, "ResourceNotFoundException")),
        ("expired credentials", error(400, "ExpiredTokenException")),
        ("invalid", error(400, "ValidationException")),
        ("invalid item", cancelled(&["None", "ValidationError"])),
        ("token of another", error(400, "IdempotentParameterMismatchException")),
    ] {
        let (store, proxy) = start().await;
        proxy.next_answer(WRITE, refusal);

        let error = write(store.table(), &creation()).await.unwrap_err();

        assert_eq!(error.kind(), "engine", "{name}");
        assert_eq!(attempts(&proxy).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_table_that_stays_busy_is_given_up_in_time() {
    let (store, proxy) = start().await;
    proxy.always(cancelled(&["TransactionConflict", "None"]));

    let started = Instant::now();
    let error = write(store.table(), &creation()).await.unwrap_err();

    assert_eq!(error.kind(), "busy");
    assert!(started.elapsed() < FUNCTION_TIMEOUT, "{:?}", started.elapsed());
    // Full jitter: the waits are half of 20, 40, 80 ms… in the mean, and never over a second.
    let attempts = attempts(&proxy);
    assert!((6..60).contains(&attempts.len()), "{} attempts", attempts.len());
    proxy.always(Answer::Proper);
    assert_eq!(get(store.table(), key("p", "new")).await, None);
}

#[tokio::test]
async fn reads_are_tried_again_like_writes() {
    for busy in [
        error(400, "ThrottlingException"),
        error(400, "ProvisionedThroughputExceededException"),
        error(500, "InternalServerError"),
        Answer::Lost,
        Answer::Closed,
    ] {
        let (store, proxy) = start().await;
        for operation in ["Query", "BatchGetItem"] {
            proxy.next_answer(operation, busy.clone());
            proxy.next_answer(operation, busy.clone());
        }

        let read = page(store.table(), all_of("p", Ascending)).await;
        let found = get(store.table(), key("p", "count")).await;

        assert_eq!((sorts(&read), found), (vec!["count"], Some(item("p", "count"))));
        assert_eq!(proxy.bodies("Query").len(), 3, "{busy:?}");
        assert_eq!(proxy.bodies("BatchGetItem").len(), 3, "{busy:?}");
    }
}

#[tokio::test]
async fn of_several_queries_only_the_throttled_one_is_repeated() {
    let (store, proxy) = start().await;
    proxy.next_answer("Query", error(400, "ThrottlingException"));

    let queries = ["a", "b", "c", "p"].map(|partition| all_of(partition, Ascending));
    let pages = store.table().query(&queries).await.unwrap();

    assert_eq!(sorts(&pages[3]), ["count"]);
    assert_eq!(proxy.bodies("Query").len(), 5);
}

#[tokio::test]
async fn keys_that_were_left_over_are_asked_for_again_and_what_was_found_is_kept() {
    let (store, proxy) = start().await;
    let left = json!({"pk": {"S": "p"}, "sk": {"S": "count"}});
    let answer = json!({
        "Responses": {"t": [{"pk": {"S": "p"}, "sk": {"S": "first"}, "said": {"S": "Hello"}}]},
        "UnprocessedKeys": {"t": {"Keys": [left]}},
    });
    let body = Bytes::from(answer.to_string());
    proxy.next_answer("BatchGetItem", Answer::Canned { status: 200, headers: Vec::new(), body });

    let keys = [key("p", "first"), key("p", "count"), key("p", "none")];
    let found = store.table().get(&keys, Strong, now()).await.unwrap();

    assert_eq!(found, [Some(item("p", "first")), Some(item("p", "count")), None]);
    let requests = proxy.bodies("BatchGetItem");
    let asked: Vec<&Value> = requests
        .iter()
        .flat_map(|body| body["RequestItems"].as_object().unwrap().values())
        .map(|table| &table["Keys"])
        .collect();
    assert_eq!(asked.len(), 2);
    assert_eq!(*asked[1], json!([left]));
}

#[tokio::test]
async fn a_cursor_may_lead_to_an_empty_page() {
    let (store, proxy) = start().await;
    // With the one that was there: as many as a request looks at.
    put(store.table(), (0..18).map(|n| expiring(item("p", &format!("a{n:02}")), NOW))).await;
    put(store.table(), [item("p", "b")]).await;

    let read = page(store.table(), Query { limit: 2, ..all_of("p", Ascending) }).await;

    assert_eq!((sorts(&read), read.next.as_deref()), (vec!["b", "count"], None));
    let requests = proxy.bodies("Query");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1]["ExclusiveStartKey"], json!({"pk": {"S": "p"}, "sk": {"S": "count"}}));
}

#[tokio::test]
async fn a_partition_of_expired_items_costs_a_bounded_number_of_reads() {
    let (store, proxy) = start().await;
    put(store.table(), (0..2_500).map(|n| expiring(item("dead", &format!("{n:04}")), NOW))).await;
    put(store.table(), [item("dead", "~")]).await;

    let mut query = Query { limit: 1, ..all_of("dead", Ascending) };
    let first = page(store.table(), query.clone()).await;
    let reads = proxy.bodies("Query").len();
    let mut last = first.clone();
    while let Some(next) = last.next.take() {
        query.after = Some(next);
        last = page(store.table(), query.clone()).await;
    }

    assert!(reads <= 5, "{reads} reads");
    assert!(first.items.is_empty() && first.next.is_some(), "{first:?}");
    assert_eq!(sorts(&last), ["~"]);
}

#[tokio::test]
async fn a_page_of_one_gets_past_a_few_expired_items_at_once() {
    let (store, proxy) = start().await;
    put(store.table(), (0..15).map(|n| expiring(item("p", &format!("a{n:02}")), NOW))).await;

    let read = page(store.table(), Query { limit: 1, ..all_of("p", Ascending) }).await;

    assert_eq!((sorts(&read), read.next.as_ref()), (vec!["count"], None));
    assert_eq!(proxy.bodies("Query").len(), 1);
}

#[tokio::test]
async fn many_queries_are_answered_in_order_over_few_connections() {
    let (store, proxy) = start().await;
    let names: Vec<String> = (0..90).map(|n| format!("q{n:02}")).collect();
    put(store.connect().as_ref(), names.iter().map(|name| item(name, name))).await;
    proxy.next_answer("Query", Answer::late(Duration::from_millis(100)));
    let before = proxy.connections();

    let queries: Vec<Query> = names.iter().map(|name| all_of(name, Ascending)).collect();
    let pages = store.table().query(&queries).await.unwrap();

    let read: Vec<&str> = pages.iter().flat_map(sorts).collect();
    assert_eq!(read, names);
    // A client may open one more while another becomes free.
    let connections = proxy.connections() - before;
    assert!(connections <= 30, "{connections}");
}

#[tokio::test]
async fn denied_reads_are_tried_once() {
    let (store, proxy) = start().await;
    for operation in ["Query", "BatchGetItem"] {
        proxy.next_answer(operation, error(400, "AccessDeniedException"));
    }

    let read = store.table().query(&[all_of("p", Ascending)]).await.unwrap_err();
    let found = store.table().get(&[key("p", "count")], Strong, now()).await.unwrap_err();

    assert_eq!((read.kind(), found.kind()), ("engine", "engine"));
    assert_eq!((proxy.bodies("Query").len(), proxy.bodies("BatchGetItem").len()), (1, 1));
}
