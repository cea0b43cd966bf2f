//! Rows whose destination is X-Ray, which gets spans by OTLP.

use std::time::Duration;

use cruddur_tests::{Answer, Burst, Exit, Fault, Freeze, Load, Network, Sandbox, Xray};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::outcome::Outcome;
use super::rig::{MAX_HOLD, assert_only_the_first_is_held};

/// A freeze that the extension notices is longer than a second.
const LONG_FREEZE: Duration = Duration::from_secs(2);

/// A running row.
struct XrayRig {
    title: String,
    xray: Xray,
    network: Network,
    load: Load,
    sandbox: Sandbox,
}

impl XrayRig {
    async fn start(title: &str) -> XrayRig {
        let xray = Xray::start().await;
        let network = Network::start(&xray.url()).await;
        let endpoint = network.url();
        XrayRig::start_at(title, xray, network, &endpoint).await
    }

    async fn start_at(title: &str, xray: Xray, network: Network, endpoint: &str) -> XrayRig {
        xray.transaction_search(true);
        let load = Load::default();
        let sandbox = Sandbox::builder("load")
            .function(load.function())
            .env("CRUDDUR_EXPORTERS", "xray")
            .env("CRUDDUR_XRAY_TRANSPORT", "otlp")
            .env("AWS_ENDPOINT_URL_XRAY", endpoint)
            .env("CRUDDUR_MAX_HOLD_MS", &MAX_HOLD.as_millis().to_string())
            .env("CRUDDUR_LOG", "info")
            .network(&network);
        let sandbox = sandbox.start().await;
        XrayRig { title: title.to_owned(), xray, network, load, sandbox }
    }

    async fn invoke(&self, count: usize) {
        for _ in 0..count {
            let reply = self.sandbox.invoke(Burst::SMALL.event()).await;
            assert_eq!(reply.status, 200);
            self.sandbox.ended(&reply.request_id).await;
        }
    }

    async fn end(self) -> Outcome {
        let ended = self.sandbox.shutdown().await;
        assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", self.sandbox.story());
        let stored = self.xray.spans().into_iter().map(|span| span.span_id).collect();
        let outcome = Outcome::of(&self.title, &self.load, ("xray", stored), &self.sandbox);
        outcome.print();
        outcome.assert_the_sums_are_right();
        outcome
    }
}

#[tokio::test]
async fn x_ray_is_down() {
    let (xray, refused) = (Xray::start().await, Xray::refused().await);
    let network = Network::start(&refused).await;
    let rig = XrayRig::start_at("X-Ray by OTLP: refused", xray, network, &refused).await;

    rig.invoke(3).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn x_ray_answers_503_for_a_while() {
    let rig = XrayRig::start("X-Ray by OTLP: 503, then healthy").await;
    rig.xray.next_answer(Answer::status(503));

    rig.invoke(3).await;
    rig.xray.answers("/v1/traces", 503).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn x_ray_limits_the_rate() {
    let rig = XrayRig::start("X-Ray by OTLP: 429 with Retry-After").await;
    rig.xray.next_answer(Answer::retry_after(429, "30"));

    rig.invoke(3).await;
    assert_eq!(rig.xray.statuses("/v1/traces"), [429], "the limit holds until SHUTDOWN");
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn x_rays_answers_are_lost_after_the_spans_were_stored() {
    let rig = XrayRig::start("X-Ray by OTLP: stored, but the answer is lost").await;
    rig.network.always(Fault::LoseAnswer);

    rig.invoke(1).await;
    rig.network.strikes(1).await;
    rig.network.always(Fault::None);
    rig.invoke(2).await;
    let outcome = rig.end().await;

    outcome.assert_delivered();
    assert_eq!(outcome.duplicated(), 13, "the first invocation's\n{}", outcome.story);
    assert!(outcome.story.contains("repeated_items"), "{}", outcome.story);
}

#[tokio::test]
async fn a_freeze_stops_the_network_before_x_ray() {
    let row = async |name: &str, freeze| {
        let rig = XrayRig::start(&format!("X-Ray by OTLP, sparse, frozen: {name}")).await;
        rig.network.on_freeze(freeze);
        rig.xray.always(Answer::status(503));
        rig.invoke(1).await;
        sleep(LONG_FREEZE).await;
        rig.xray.always(Answer::Proper);
        for _ in 0..3 {
            rig.invoke(1).await;
            sleep(LONG_FREEZE).await;
        }
        rig.end().await.assert_delivered();
    };
    join_all([row("requests wait", Freeze::RequestWaits), row("silent", Freeze::Silent)]).await;
}
