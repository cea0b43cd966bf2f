//! The first request of a sandbox: init has made its connections, over TLS, and a table that does not
//! answer delays init by little.

use std::time::Duration;

use cruddur_tests::store::endpoint;
use cruddur_tests::tls_store::TlsStore;
use cruddur_tests::{Answer, Builder, Party, Sandbox, Store, What, event};

fn function(name: &str, store: &Store) -> Builder {
    Sandbox::builder(name).without_extension().freezing(false).store(store)
}

async fn tls() -> (Store, TlsStore) {
    let tls = TlsStore::start(&endpoint(), Duration::from_millis(1)).await;
    (Store::dynamodb().await, tls)
}

#[tokio::test]
async fn the_first_request_uses_the_connections_that_init_made() {
    let (store, tls) = tls().await;
    let bundle = tls.ca_bundle().display().to_string();
    for (name, connections) in [("rollbar-test", 0), ("home-activities", 4)] {
        let sandbox = function(name, &store)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &tls.url())
            .env("CRUDDUR_CA_BUNDLE", &bundle)
            .start()
            .await;
        let made_by_init = tls.connections();

        let reply = sandbox.invoke(event(name)).await;

        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!((made_by_init, tls.connections()), (connections, connections), "{name}");
    }
}

#[tokio::test]
async fn a_table_with_an_unknown_certificate_gets_no_request() {
    let (store, tls) = tls().await;
    let sandbox = function("home-activities", &store)
        .env("AWS_ENDPOINT_URL_DYNAMODB", &tls.url())
        .env("CRUDDUR_CA_BUNDLE", "/nowhere/ca.pem")
        .start()
        .await;

    let reply = sandbox.invoke(event("home-activities")).await;

    assert!([500, 503].contains(&reply.status), "{}", reply.body);
    assert!(tls.requests().is_empty());
    let warning = sandbox.function_log("CRUDDUR_CA_BUNDLE must name a PEM file").await;
    assert!(warning["message"].as_str().unwrap().contains("/nowhere/ca.pem"), "{warning}");
}

#[tokio::test]
async fn a_table_that_does_not_answer_delays_init_by_half_a_second_and_fails_nothing() {
    let (store, proxy) = Store::behind_proxy().await;
    proxy.always(Answer::Hang);

    let sandbox = function("home-activities", &store).start().await;

    let journal = sandbox.journal();
    let started = journal.first(|what| *what == What::Started(Party::Runtime)).unwrap();
    let took = journal.first(|what| *what == What::RuntimeNext).unwrap() - started;
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&took), "{took:?}");
    proxy.always(Answer::Proper);
    let reply = sandbox.invoke(event("home-activities")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}
