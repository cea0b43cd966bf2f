//! What every row starts with: a load, an extension, a network, and a Honeycomb.

use std::time::Duration;

use cruddur_tests::{Builder, Burst, Exit, Fault, Honeycomb, Load, Network, Sandbox};

use super::outcome::{Outcome, spooled, stored};

/// How long the extension is told to keep Next to itself at most.
pub(super) const MAX_HOLD: Duration = Duration::from_millis(400);

/// What a busy machine may add to it. Rows run side by side.
const SLACK: Duration = Duration::from_millis(1_000);

/// Shorter than [`MAX_HOLD`]: who is left alone is not waited for, even on a busy machine.
const NO_HOLD: Duration = Duration::from_millis(300);

/// A running row.
pub(super) struct Rig {
    title: String,
    /// What no hold may exceed by much.
    pub(super) max_hold: Duration,
    pub(super) honeycomb: Honeycomb,
    pub(super) network: Network,
    pub(super) load: Load,
    pub(super) sandbox: Sandbox,
}

impl Rig {
    pub(super) async fn start(title: impl Into<String>) -> Rig {
        Rig::start_with(title, |builder| builder).await
    }

    /// The same in an environment that is different.
    pub(super) async fn start_with(
        title: impl Into<String>,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Rig {
        let load = Load::default();
        let honeycomb = Honeycomb::start().await;
        let network = Network::start(&honeycomb.url()).await;
        let builder = Sandbox::builder("load")
            .function(load.function())
            .honeycomb(&honeycomb)
            .env("HONEYCOMB_API_ENDPOINT", &network.url())
            .env("CRUDDUR_MAX_HOLD_MS", &MAX_HOLD.as_millis().to_string())
            .env("CRUDDUR_LOG", "info")
            .network(&network);
        let builder = change(builder);
        let max_hold = MAX_HOLD;
        Rig {
            title: title.into(),
            max_hold,
            honeycomb,
            network,
            sandbox: builder.start().await,
            load,
        }
    }

    /// So many small invocations, one after the other, each with its time to freeze.
    pub(super) async fn invoke(&self, count: usize) {
        for _ in 0..count {
            self.invoke_with(Burst::SMALL).await;
        }
    }

    /// One invocation, until it has ended for everybody.
    pub(super) async fn invoke_with(&self, burst: Burst) {
        let reply = self.sandbox.invoke(burst.event()).await;
        assert_eq!(reply.status, 200);
        self.sandbox.ended(&reply.request_id).await;
    }

    /// Returns when the spool has so many spans.
    pub(super) async fn spools(&self, count: usize) {
        while spooled(&self.sandbox.directory().join("spool"), "honeycomb").len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the environment as Lambda does, and looks at what became of every span.
    pub(super) async fn end(self) -> Outcome {
        let ended = self.sandbox.shutdown().await;
        assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", self.sandbox.story());
        assert!(ended.took < Duration::from_secs(2), "{ended:?}");
        let outcome = self.outcome();
        outcome.assert_the_sums_are_right();
        outcome
    }

    /// The same after an end that the extension did not see coming: without its sums.
    pub(super) fn outcome(self) -> Outcome {
        let outcome = Outcome::of(
            &self.title,
            &self.load,
            ("honeycomb", stored(&self.honeycomb)),
            &self.sandbox,
        );
        outcome.print();
        let longest = outcome.longest_hold();
        assert!(longest <= self.max_hold + SLACK, "{longest:?}\n{}", outcome.story);
        outcome
    }
}

/// From the second invocation on, nobody waits for a destination that has failed.
pub(super) fn assert_only_the_first_is_held(outcome: &Outcome) {
    let later = &outcome.holds[1..];
    assert!(later.iter().all(|hold| *hold <= NO_HOLD), "{:?}\n{}", outcome.holds, outcome.story);
}

/// A row whose network has this fault from the first span on.
pub(super) async fn start_with_fault(title: &str, fault: Fault) -> Rig {
    let rig = Rig::start(title).await;
    rig.network.always(fault);
    rig
}
