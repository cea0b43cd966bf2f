//! The functions' table by a proxy.

use cruddur_tests::connect_proxy::{ConnectProxy, ProxyAnswer};
use cruddur_tests::store::endpoint;
use cruddur_tests::tls_front::{PrivateCa, TlsFront};
use cruddur_tests::{Builder, Sandbox, Store, event};

use super::{PASSWORD, text};

struct TableBehind {
    store: Store,
    ca: PrivateCa,
    front: TlsFront,
}

impl TableBehind {
    async fn start(proxy: &ConnectProxy) -> TableBehind {
        let ca = PrivateCa::default();
        let front = TlsFront::start(&ca, "dynamodb.test", &endpoint()).await;
        proxy.route(&front);
        TableBehind { store: Store::dynamodb().await, ca, front }
    }

    fn function(&self, proxy: &str) -> Builder {
        Sandbox::builder("home-activities")
            .without_extension()
            .freezing(false)
            .store(&self.store)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.front.url())
            .env("CRUDDUR_CA_BUNDLE", &text(&self.ca.bundle()))
            .env("HTTPS_PROXY", proxy)
    }
}

#[tokio::test]
async fn the_table_is_reached_by_a_proxy_that_asks_for_a_password() {
    let proxy = ConnectProxy::start().await;
    let table = TableBehind::start(&proxy).await;
    let sandbox = table.function(&proxy.require("user", PASSWORD)).start().await;

    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(reply.status, 200, "{}", reply.body);
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    assert!(requests.iter().all(|it| it.is_tunnelled && it.target == table.front.target()));
}

#[tokio::test]
async fn the_table_is_reached_directly_if_no_proxy_lists_it_at_its_port() {
    let proxy = ConnectProxy::start().await;
    let table = TableBehind::start(&proxy).await;
    let local = TlsFront::start(&table.ca, "localhost", &endpoint()).await;
    let sandbox = table.function(&proxy.url()).env("AWS_ENDPOINT_URL_DYNAMODB", &local.url());
    let sandbox = sandbox.start().await;

    let local = sandbox.invoke(event("home-activities")).await;
    let before = proxy.requests();
    let listed = table.function(&proxy.url()).env("NO_PROXY", &table.front.target()).start().await;
    let listed = listed.invoke(event("home-activities")).await;
    let by_name = proxy.requests();
    let elsewhere = table.function(&proxy.url()).env("NO_PROXY", "dynamodb.test:1").start().await;
    let elsewhere = elsewhere.invoke(event("home-activities")).await;

    assert_eq!((local.status, before), (200, Vec::new()), "{}", local.body);
    // Only the proxy knows the name.
    assert!(listed.status >= 500 && by_name.is_empty(), "{} {by_name:?}", listed.body);
    assert_eq!(elsewhere.status, 200, "{}", elsewhere.body);
    assert!(!proxy.requests().is_empty());
}

#[tokio::test]
async fn a_table_behind_a_proxy_that_fails_or_is_invalid_is_an_error_and_not_reached_past_it() {
    let proxy = ConnectProxy::start().await;
    let table = TableBehind::start(&proxy).await;
    proxy.always(ProxyAnswer::Refuse(407));
    let refused = table.function(&proxy.url()).start().await;
    let invalid = table.function("http://user:secret@proxy.test:port").start().await;

    let by_refused = refused.invoke(event("home-activities")).await;
    let by_invalid = invalid.invoke(event("home-activities")).await;

    assert!([500, 503].contains(&by_refused.status), "{}", by_refused.body);
    assert_eq!(by_invalid.status, 500, "{}", by_invalid.body);
    assert!(proxy.requests().iter().all(|request| !request.is_tunnelled));
    let warning = invalid.function_log("HTTPS_PROXY is not http://host:port").await;
    assert!(!warning.to_string().contains("secret"), "{warning}");
}
