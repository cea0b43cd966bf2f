//! Proxies that fail, and settings that are wrong.

use cruddur_tests::connect_proxy::{ConnectProxy, ProxyAnswer};
use cruddur_tests::tls_front::{PrivateCa, TlsFront};
use cruddur_tests::{Cli, Honeycomb, event};

use super::{Destinations, text};

/// A Honeycomb behind TLS, by a name that the proxy knows.
async fn behind(proxy: &ConnectProxy) -> (Honeycomb, PrivateCa, TlsFront) {
    let (honeycomb, ca) = (Honeycomb::start().await, PrivateCa::default());
    let front = TlsFront::start(&ca, "honeycomb.test", &honeycomb.url()).await;
    proxy.route(&front);
    (honeycomb, ca, front)
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_the_destination_and_is_not_bypassed() {
    let proxy = ConnectProxy::start().await;
    let (honeycomb, ca, front) = behind(&proxy).await;
    for (answer, reason) in [
        (ProxyAnswer::Refuse(407), "proxy authorization required"),
        (ProxyAnswer::Refuse(502), "tunnel error: unsuccessful"),
        (ProxyAnswer::Garbage, "tunnel error: unsuccessful"),
        (ProxyAnswer::Close, "unexpected end of file"),
        (ProxyAnswer::Hang, "no answer within 5s"),
    ] {
        proxy.always(answer);
        let doctor = Cli::new(&["doctor"]).honeycomb(&honeycomb);
        let doctor = doctor.env("HONEYCOMB_API_ENDPOINT", &front.url());
        let doctor = doctor.env("CRUDDUR_CA_BUNDLE", &text(&ca.bundle()));

        let printed = doctor.env("HTTPS_PROXY", &proxy.url()).run().await;

        assert_eq!(printed.code, 2, "{answer:?}: {printed:?}");
        let address = proxy.url().replace("http://", "");
        let named =
            format!("the proxy {address} of HTTPS_PROXY does not connect to {}", front.target());
        for part in [&named, reason] {
            assert!(printed.out.contains(part), "{answer:?}: {part}\n{}", printed.out);
        }
    }
    assert_eq!(honeycomb.requests().len(), 0);
    assert_eq!(proxy.requests().len(), 5);
}

#[tokio::test]
async fn telemetry_waits_for_a_proxy_that_refuses_first_and_costs_the_function_nothing() {
    let proxy = ConnectProxy::start().await;
    let destinations = Destinations::behind(&proxy).await;
    proxy.always(ProxyAnswer::Refuse(502));
    let sandbox = destinations.sandbox(&[("HTTPS_PROXY", &proxy.url())]).start().await;

    let early = sandbox.invoke(event("rollbar-test")).await;
    sandbox.ended(&early.request_id).await;
    proxy.requests_reach(4).await;
    proxy.always(ProxyAnswer::Tunnel);
    sandbox.shutdown().await;

    assert_eq!(early.status, 200);
    destinations.honeycomb.server_span(&early.request_id).await;
    assert_eq!(destinations.rollbar.items().len(), 1);
    assert!(!destinations.xray.documents().is_empty());
    assert!(!destinations.group.lines().await.is_empty());
}

/// Each destination gets nothing, the function is not disturbed, and one line names the variable first.
async fn assert_closed(variable: &str, value: &str) {
    let destinations = Destinations::start(["localhost"; 4]).await;
    let proxy = ConnectProxy::start().await;
    // With an invalid proxy, local addresses would be reached directly.
    let (behind, fine) = match variable {
        "HTTPS_PROXY" => (Destinations::behind(&proxy).await, ("HTTPS_PROXY", value.to_owned())),
        _ => (destinations, ("HTTPS_PROXY", proxy.url())),
    };
    let sandbox = behind.sandbox(&[(fine.0, &fine.1), (variable, value)]).start().await;

    let reply = sandbox.invoke(event("rollbar-test")).await;
    sandbox.ended(&reply.request_id).await;
    let doctor = behind.doctor(&[(fine.0, &fine.1), (variable, value)]).run().await;
    let ended = sandbox.shutdown().await;

    assert_eq!((reply.status, ended.extension), (200, Some(cruddur_tests::Exit::Code(0))));
    assert_eq!(behind.honeycomb.requests().len(), 0);
    assert_eq!(behind.rollbar.requests().len(), 0);
    assert_eq!(behind.group.proxy.requests().len(), 0);
    assert!(behind.xray.documents().is_empty());
    assert_eq!(proxy.requests(), []);
    let log = sandbox.extension_log_lines();
    let of_honeycomb = |line: &&String| {
        line.contains(variable) && line.contains("honeycomb does not take telemetry")
    };
    assert_eq!(log.iter().filter(of_honeycomb).count(), 1, "{log:#?}");
    assert!(!log.concat().contains("s3cr3t") && !doctor.out.contains("s3cr3t"), "{log:#?}");
    assert_eq!(doctor.code, 1, "{doctor:?}");
    for destination in doctor.json()["destinations"].as_array().expect("destinations") {
        let findings = destination["findings"].to_string();
        assert!(findings.contains(variable) && findings.contains("misconfigured"), "{findings}");
    }
}

#[tokio::test]
async fn an_invalid_proxy_closes_the_way_to_every_destination_instead_of_being_bypassed() {
    assert_closed("HTTPS_PROXY", "http://user:s3cr3t@proxy.test:port").await;
}

#[tokio::test]
async fn an_invalid_file_of_certificates_closes_the_way_to_every_destination() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n")
        .expect("a file");

    assert_closed("CRUDDUR_CA_BUNDLE", &text(&file)).await;
}

#[tokio::test]
async fn a_key_that_aws_keeps_is_not_fetched_past_an_invalid_proxy() {
    let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a";
    let doctor = Cli::new(&["doctor"]).aws().env("HONEYCOMB_API_KEY_SECRET", secret);
    let doctor = doctor.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://secrets.test");

    let printed = doctor.env("HTTPS_PROXY", "socks5://proxy.test").run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.out.contains("no key: HTTPS_PROXY is not"), "{}", printed.out);
}
