//! The extension's own stats: one line of JSON at SHUTDOWN, and one a minute if they have changed.
//!
//! A line with a new loss or a new refusal is a warning, as is the last line if telemetry was refused or
//! is undelivered. A refusal with a retry does not count. All other lines have the level info, which
//! `CRUDDUR_LOG=info` shows.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tracing::{info, warn};

use crate::otlp::payload::SignalKind;
use crate::pipeline::circuit_breaker::BreakerState;
use crate::pipeline::ledger::{Account, State};
use crate::pipeline::refusals::RefusalCounts;

/// Shortest time between two lines: the resolution of CloudWatch's metrics.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// The accounts continue over restarts within a sandbox; all other values begin with the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PipelineStats {
    pub destinations: BTreeMap<&'static str, DestinationStats>,
    pub holds: HoldStats,
    /// Requests that the receivers refused.
    #[serde(skip_serializing_if = "RefusalCounts::is_empty")]
    pub refused: RefusalCounts,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DestinationStats {
    /// By kind, without kinds that were never received.
    #[serde(flatten)]
    pub accounts: BTreeMap<SignalKind, Account>,
    #[serde(flatten)]
    pub requests: RequestStats,
    pub breaker: BreakerState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestStats {
    pub requests: u64,
    /// Failed requests, whose items are retried or dropped.
    pub failed_requests: u64,
    /// Items of requests without an answer, which may arrive twice.
    pub repeated_items: u64,
    /// Bytes of request bodies; at CloudWatch Logs those of events, as they are billed.
    pub sent_bytes: u64,
}

/// The holds of Next after the ends of invocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HoldStats {
    /// Number of invocations, also those without a hold.
    pub count: u64,
    /// The longest hold in milliseconds.
    pub longest_ms: f64,
    /// The sum in milliseconds.
    pub total_ms: f64,
}

impl HoldStats {
    pub fn add(&mut self, hold: Duration) {
        let millis = hold.as_secs_f64() * 1e3;
        self.count += 1;
        self.longest_ms = self.longest_ms.max(millis);
        self.total_ms += millis;
    }
}

impl PipelineStats {
    /// Logs the stats if they have changed since `earlier`.
    pub fn log_since(&self, earlier: &Self) {
        if self != earlier {
            let is_worse = self.sum(Account::lost) > earlier.sum(Account::lost);
            let is_refused = self.refused.lost() > earlier.refused.lost();
            let lost = is_worse.then_some("Telemetry was lost");
            self.log(lost.or(is_refused.then_some("Telemetry was refused")));
        }
    }

    /// Logs the stats at SHUTDOWN.
    pub fn log_at_end(&self) {
        let undelivered = |account: &Account| {
            account.lost() + account.at(State::Held) + account.at(State::Spooled)
        };
        let is_undelivered = self.sum(undelivered) > 0;
        let undelivered = is_undelivered.then_some("Not all telemetry was delivered");
        let is_refused = self.refused.lost() > 0;
        self.log(undelivered.or(is_refused.then_some("Telemetry was refused")));
    }

    fn log(&self, problem: Option<&str>) {
        let json = serde_json::to_string(self).unwrap_or_else(|error| error.to_string());
        match problem {
            Some(problem) => warn!("{problem}. Summary: {json}"),
            None => info!("Summary: {json}"),
        }
    }

    fn sum(&self, items: impl Fn(&Account) -> u64) -> u64 {
        self.destinations.values().flat_map(|it| it.accounts.values()).map(items).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        config::Config,
        pipeline::{
            Pipeline, Trigger,
            ledger::{Ledger, Reason},
            refusals::{Receiver, RefusalReason as Refused, RefusedRequests},
        },
    };

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        /// Collects the lines that this thread logs.
        fn start() -> (Self, tracing::subscriber::DefaultGuard) {
            let log = Self::default();
            let writer = log.clone();
            let subscriber =
                tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
            (log, tracing::subscriber::set_default(subscriber.finish()))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        /// Level and text up to the JSON of each line with a summary.
        fn take(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            let lines = text.lines().filter_map(|line| {
                let (head, _) = line.split_once("ummary: {")?;
                let level = head.split_whitespace().nth(1)?;
                let (_, words) = head.split_once("telemetry::pipeline::stats: ")?;
                Some(format!("{level} {words}"))
            });
            lines.collect()
        }
    }

    fn with(account: Account) -> PipelineStats {
        let destination = DestinationStats {
            accounts: BTreeMap::from([(SignalKind::Traces, account)]),
            requests: RequestStats::default(),
            breaker: BreakerState::Closed,
        };
        let destinations = BTreeMap::from([("there", destination)]);
        PipelineStats { destinations, ..PipelineStats::default() }
    }

    #[test]
    fn a_new_loss_is_a_warning_and_at_the_end_all_that_was_not_delivered() {
        let (log, _guard) = Log::start();
        let mut ledger = Ledger::new(1);
        ledger.received(0, 3);
        let held = with(ledger.account(0));
        ledger.transfer(0, State::Held, State::Dropped(Reason::BufferFull), 1);
        let lost = with(ledger.account(0));
        let mut ledger = Ledger::new(1);
        ledger.received(0, 3);
        ledger.transfer(0, State::Held, State::Delivered, 2);
        ledger.transfer(0, State::Held, State::Dropped(Reason::Unsampled), 1);
        let delivered = with(ledger.account(0));

        held.log_since(&PipelineStats::default());
        held.log_since(&held);
        lost.log_since(&held);
        assert_eq!(log.take(), ["INFO S", "WARN Telemetry was lost. S"]);
        held.log_at_end();
        lost.log_at_end();
        delivered.log_at_end();
        let undelivered = "WARN Not all telemetry was delivered. S";
        assert_eq!(log.take(), [undelivered, undelivered, "INFO S"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_request_is_a_warning_in_the_log_and_in_the_summary() {
        let (log, _guard) = Log::start();
        let (config, _) = Config::from_vars(|_| None);
        let (pipeline, handle) =
            Pipeline::new(Vec::new(), &config.pipeline_settings(), Trigger::Flush);
        tokio::spawn(pipeline.run());
        let (receiver, detail) = (Receiver::Otlp, "17 is no map".to_owned());

        handle
            .refused(RefusedRequests { receiver, reason: Refused::Invalid, count: 2, detail })
            .await;
        let summary = handle.summary().await.unwrap();

        assert!(log.text().contains("WARN"), "{}", log.text());
        assert!(
            log.text().contains("OTLP receiver: 2 refused as invalid; the latest: 17 is no map")
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["refused"], serde_json::json!({"otlp": {"invalid": 2}}));
        log.take();
        summary.log_since(&PipelineStats::default());
        summary.log_at_end();
        assert_eq!(log.take(), ["WARN Telemetry was refused. S", "WARN Telemetry was refused. S"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_a_minute_while_something_changes() {
        let (log, _guard) = Log::start();
        let (config, _) = Config::from_vars(|_| None);
        let (pipeline, handle) =
            Pipeline::new(Vec::new(), &config.pipeline_settings(), Trigger::Flush);
        tokio::spawn(pipeline.run());

        for (holds, expected) in [(3, 1), (1, 1), (0, 0)] {
            tokio::time::advance(INTERVAL).await;
            for _ in 0..holds {
                handle.held(Duration::ZERO).await;
            }
            handle.summary().await.unwrap();
            assert_eq!(log.take().len(), expected, "{holds} holds");
        }
    }
}
