//! What a call costs: its requests by the proxy's record, which must not grow with the store.

use cruddur::domain::{Activity, Entry, search_words};
use cruddur::store::{PageRequest, feeds, keys, threads};
use cruddur_tests::proxy::error;
use cruddur_tests::{Honeycomb, Proxy, Sandbox, Store, event};

use super::world::*;
use super::*;

/// Requests since the last question.
fn since(proxy: &Proxy, before: &mut usize) -> usize {
    let all = proxy.requests().len();
    all - std::mem::replace(before, all)
}

/// The requests of home, a feed, a search, a show, a publication and an answer.
async fn costs(store: &Store, proxy: &Proxy) -> [usize; 6] {
    let table = store.table();
    let activity = publish(store.connect().as_ref(), activity("worf", "prune juice", 0)).await;
    let page: PageRequest = first(5);
    let mut before = proxy.requests().len();
    feeds::home(table, &page, now()).await.unwrap();
    let home = since(proxy, &mut before);
    feeds::of_user(table, &handle("worf"), &page, now()).await.unwrap();
    let feed = since(proxy, &mut before);
    feeds::search(table, &search_words("juice"), &page, now()).await.unwrap();
    let search = since(proxy, &mut before);
    threads::show(table, activity.uuid, &page, now()).await.unwrap().unwrap();
    let show = since(proxy, &mut before);
    publish(table, super::world::activity("data", "prune juice", 0)).await;
    let publish = since(proxy, &mut before);
    let root = found(table, activity.uuid).await.unwrap();
    since(proxy, &mut before);
    answer(table, &root, "data", 0).await;
    [home, feed, search, show, publish, since(proxy, &mut before)]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_costs_more_requests_when_there_is_more_in_the_store() {
    let (store, proxy) = Store::behind_proxy().await;
    for minutes in 0..6 {
        publish(store.table(), activity("worf", "prune juice", minutes + 1)).await;
    }
    let of_a_few = costs(&store, &proxy).await;

    for minutes in 0..60 {
        publish(store.table(), activity("worf", "prune juice", minutes + 10)).await;
    }
    let of_many = costs(&store, &proxy).await;

    let shards = usize::from(keys::HOME_SHARDS);
    // One of the few on the first page of home has been answered by then: its replies are read.
    assert_eq!(of_a_few, [shards, 1, 1, 1, 1, 1]);
    assert_eq!(of_many[1..], of_a_few[1..]);
    assert!(of_many[0] <= of_a_few[0] + 1, "{of_many:?}");
    assert!(proxy.bodies("Scan").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn showing_a_entry_costs_by_what_is_shown_and_not_by_its_thread() {
    let (store, proxy) = Store::behind_proxy().await;
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("worf", "Hello", 50)).await);
    let one = Entry::Reply(answer(table, &root, "data", 40).await);
    let below = Entry::Reply(answer(table, &one, "worf", 30).await);
    answer(table, &below, "data", 20).await;
    let mut before = proxy.requests().len();
    let mut cost = async || {
        threads::show(table, one.uuid(), &first(40), now()).await.unwrap().unwrap();
        since(&proxy, &mut before)
    };

    let alone = cost().await;
    for n in 0..40 {
        answer(store.connect().as_ref(), &root, "q", n).await;
    }
    let in_a_crowd = {
        cost().await;
        cost().await
    };

    assert_eq!(alone, 6); // where it is, itself, and two for each of the two levels below it
    assert_eq!(in_a_crowd, alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_span_of_a_call_with_many_requests_keeps_its_cost_and_its_outcome() {
    let honeycomb = Honeycomb::start().await;
    let (direct, store, proxy) = Store::with_and_without_proxy().await;
    let until = "2100-01-01T00:00:00Z".parse().unwrap();
    for minutes in 0..62 {
        let activity = Activity { expires_at: until, ..activity("worf", "Hello", minutes) };
        let root = Entry::Activity(publish(direct.table(), activity).await);
        answer(direct.table(), &root, "data", 0).await;
    }
    let sandbox = Sandbox::builder("home-activities").honeycomb(&honeycomb).store(&store);
    let sandbox = sandbox.start().await;
    proxy.next_answer("Query", error(400, "ThrottlingException"));

    let reply = sandbox.invoke(event("home-activities").query("limit", "100")).await;
    let server = honeycomb.server_span(&reply.request_id).await;

    assert_eq!(reply.status, 200, "{}", reply.body);
    let trace = honeycomb.trace(&server.trace_id);
    let calls = trace.iter().filter(|span| span.name == "DynamoDB.Query");
    let requests: i64 = calls
        .map(|call| {
            for text in ["server.address", "aws.request_id"] {
                assert!(call.attribute(text).is_string(), "{text}");
            }
            assert!(call.attribute("app.store.retries").is_i64());
            assert!(call.attribute("app.store.consumed_capacity").as_f64().unwrap() > 0.0);
            assert!(call.attribute("db.response.returned_rows").as_i64().unwrap() > 0);
            call.attribute("app.store.requests").as_i64().unwrap()
        })
        .sum();
    assert_eq!(requests, i64::from(keys::HOME_SHARDS) + 62);
}
