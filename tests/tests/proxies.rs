//! Destinations by a proxy and with a private CA: delivered, or closed where a setting is wrong.

mod refused;
mod store;

use std::path::Path;

use cruddur_tests::connect_proxy::ConnectProxy;
use cruddur_tests::log_group::LogGroup;
use cruddur_tests::tls_front::{PrivateCa, TlsFront};
use cruddur_tests::{Builder, Cli, Honeycomb, Rollbar, Sandbox, Xray, event};

const PASSWORD: &str = "p@ss/w:rd é";

/// The four destinations, each behind TLS of a private CA.
struct Destinations {
    honeycomb: Honeycomb,
    xray: Xray,
    group: LogGroup,
    rollbar: Rollbar,
    ca: PrivateCa,
    /// In this order.
    fronts: [TlsFront; 4],
}

impl Destinations {
    /// `hosts` are their names, in the same order.
    async fn start(hosts: [&str; 4]) -> Destinations {
        let (honeycomb, xray) = (Honeycomb::start().await, Xray::start().await);
        let (group, rollbar) = (LogGroup::new().await, Rollbar::start().await);
        let ca = PrivateCa::default();
        let fronts = [
            TlsFront::start(&ca, hosts[0], &honeycomb.url()).await,
            TlsFront::start(&ca, hosts[1], &xray.url()).await,
            TlsFront::start(&ca, hosts[2], &group.proxy.url()).await,
            TlsFront::start(&ca, hosts[3], &rollbar.url()).await,
        ];
        Destinations { honeycomb, xray, group, rollbar, ca, fronts }
    }

    /// By names that only a proxy resolves.
    async fn behind(proxy: &ConnectProxy) -> Destinations {
        let hosts = ["honeycomb.test", "xray.test", "logs.test", "rollbar.test"];
        let destinations = Destinations::start(hosts).await;
        destinations.fronts.iter().for_each(|front| proxy.route(front));
        destinations
    }

    /// Leads the extension to them.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let [honeycomb, xray, logs, rollbar] = self.fronts.each_ref().map(TlsFront::url);
        vec![
            ("CRUDDUR_EXPORTERS", "honeycomb,xray,cloudwatch,rollbar".to_owned()),
            ("HONEYCOMB_API_KEY", self.honeycomb.key().to_owned()),
            ("HONEYCOMB_API_ENDPOINT", honeycomb),
            ("AWS_ENDPOINT_URL_XRAY", xray),
            ("CRUDDUR_XRAY_TRANSPORT", "segments".to_owned()),
            ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", logs),
            ("CRUDDUR_LOG_GROUP", self.group.name.clone()),
            ("ROLLBAR_ENDPOINT", format!("{rollbar}/api/1/item/")),
            ("ROLLBAR_ACCESS_TOKEN", self.rollbar.token().to_owned()),
        ]
    }

    /// Those that trust its CA.
    fn trusted_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.variables();
        variables.push(("CRUDDUR_CA_BUNDLE", text(&self.ca.bundle())));
        variables
    }

    fn sandbox(&self, more: &[(&str, &str)]) -> Builder {
        let builder = Sandbox::builder("rollbar-test");
        let builder = self
            .trusted_variables()
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.env(name, &value));
        more.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    /// `doctor --json` with the trusted variables and these.
    fn doctor(&self, more: &[(&str, &str)]) -> Cli {
        let doctor = Cli::new(&["doctor", "--json"]).aws();
        let doctor = self
            .trusted_variables()
            .into_iter()
            .fold(doctor, |doctor, (name, value)| doctor.env(name, &value));
        more.iter().fold(doctor, |doctor, (name, value)| doctor.env(name, value))
    }

    /// Invokes a function that reports a message, and finds it at each destination.
    async fn assert_delivered(&self, sandbox: &Sandbox) {
        let reply = sandbox.invoke(event("rollbar-test")).await;
        sandbox.shutdown().await;

        assert_eq!(reply.status, 200);
        let story = || sandbox.story();
        let server = self.honeycomb.server_span(&reply.request_id).await;
        let documents = self.xray.documents();
        let is_server = |it: &serde_json::Value| it["id"] == server.span_id.as_str();
        let spans = self.xray.spans(); // by OTLP
        let by_otlp = spans.iter().any(|span| span.span_id == server.span_id);
        assert!(by_otlp || documents.iter().any(is_server), "{documents:#?}\n{}", story());
        let lines = self.group.lines().await;
        let is_own = |line: &serde_json::Value| line["requestId"] == reply.request_id.as_str();
        assert!(lines.iter().any(is_own), "{lines:#?}\n{}", story());
        let items = self.rollbar.items();
        assert_eq!(items.len(), 1, "{items:#?}\n{}", story());
    }

    fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> = self.fronts.iter().map(TlsFront::target).collect();
        targets.sort();
        targets
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

/// The destinations of all tunnels, each once.
fn tunnels(proxy: &ConnectProxy) -> Vec<String> {
    let made = proxy.requests().into_iter().filter(|request| request.is_tunnelled);
    let mut targets: Vec<_> = made.map(|request| request.target).collect();
    targets.sort();
    targets.dedup();
    targets
}

#[tokio::test]
async fn all_four_destinations_are_reached_directly_with_a_private_ca() {
    let destinations = Destinations::start(["localhost"; 4]).await;
    let proxy = ConnectProxy::start().await;
    // The proxy is not for local addresses.
    let sandbox = destinations.sandbox(&[("HTTPS_PROXY", &proxy.url())]).start().await;

    destinations.assert_delivered(&sandbox).await;

    assert_eq!(proxy.requests(), []);
}

#[tokio::test]
async fn all_four_destinations_are_reached_by_a_proxy() {
    let proxy = ConnectProxy::start().await;
    let destinations = Destinations::behind(&proxy).await;
    let sandbox = destinations.sandbox(&[("https_proxy", &proxy.url())]).start().await;

    destinations.assert_delivered(&sandbox).await;

    assert_eq!(tunnels(&proxy), destinations.targets());
    assert!(proxy.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn all_four_destinations_are_reached_by_a_proxy_that_asks_for_a_password_which_is_never_shown()
 {
    let proxy = ConnectProxy::start().await;
    let destinations = Destinations::behind(&proxy).await;
    let url = proxy.require("user", PASSWORD);
    destinations.xray.transaction_search(true);
    let sandbox = destinations.sandbox(&[
        ("HTTPS_PROXY", &url),
        ("CRUDDUR_LOG", "info"),
        ("CRUDDUR_XRAY_TRANSPORT", "otlp"),
    ]);
    let sandbox = sandbox.start().await;

    destinations.assert_delivered(&sandbox).await;
    let doctor = destinations.doctor(&[("HTTPS_PROXY", &url)]).run().await;

    assert_eq!(tunnels(&proxy), destinations.targets());
    assert!(!destinations.xray.spans().is_empty());
    assert_eq!(doctor.code, 0, "{doctor:?}");
    let encoded = url.split([':', '@']).nth(2).expect("a password");
    for shown in [sandbox.extension_log_lines().concat(), doctor.out.clone(), doctor.err.clone()] {
        assert!(!shown.contains(PASSWORD) && !shown.contains(encoded), "{shown}");
    }
    let by_proxy = format!("by the proxy {}", proxy.url().trim_start_matches("http://"));
    for destination in doctor.json()["destinations"].as_array().expect("destinations") {
        let findings = destination["findings"].to_string();
        assert!(findings.contains(&by_proxy), "{findings}");
    }
}

#[tokio::test]
async fn doctor_shows_which_destinations_are_reached_without_the_proxy_and_why() {
    let proxy = ConnectProxy::start().await;
    let destinations = Destinations::start(["localhost"; 4]).await;
    let plain = ("HONEYCOMB_API_ENDPOINT", &*destinations.honeycomb.url());

    let without = destinations.doctor(&[]).run().await;
    let with = destinations.doctor(&[plain, ("HTTPS_PROXY", &proxy.url())]).run().await;

    assert_eq!((without.code, with.code), (0, 0), "{without:?} {with:?}");
    assert_eq!(without.out.matches(" directly\"").count(), 4, "{}", without.out);
    assert_eq!(with.out.matches("the proxy is for https alone").count(), 1, "{}", with.out);
    assert_eq!(
        with.out.matches("it is a local address, or in NO_PROXY").count(),
        3,
        "{}",
        with.out
    );
    assert_eq!(proxy.requests(), []);
}

#[tokio::test]
async fn the_certificates_of_each_variable_are_trusted_and_the_first_one_that_is_set_counts() {
    let honeycomb = Honeycomb::start().await;
    let (ca, other) = (PrivateCa::default(), PrivateCa::default());
    let front = TlsFront::start(&ca, "localhost", &honeycomb.url()).await;
    let (ca, other) = (text(&ca.bundle()), text(&other.bundle()));
    for (variables, code) in [
        (&[][..], 2),
        (&[("CRUDDUR_CA_BUNDLE", &ca)], 0),
        (&[("AWS_CA_BUNDLE", &ca)], 0),
        (&[("SSL_CERT_FILE", &ca)], 0),
        (&[("CRUDDUR_CA_BUNDLE", &other), ("AWS_CA_BUNDLE", &ca)], 2),
        (&[("AWS_CA_BUNDLE", &ca), ("SSL_CERT_FILE", &other)], 0),
    ] {
        let doctor = Cli::new(&["doctor"]).honeycomb(&honeycomb);
        let doctor = doctor.env("HONEYCOMB_API_ENDPOINT", &front.url());
        let doctor = variables.iter().fold(doctor, |doctor, (name, value)| doctor.env(name, value));

        let printed = doctor.run().await;

        assert_eq!(printed.code, code, "{variables:?}: {printed:?}");
        assert_eq!(printed.out.contains("invalid peer certificate"), code == 2, "{}", printed.out);
    }
}
