//! The stats as log lines with metrics, for destinations that take lines.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::otlp::line_codec::{LinePayloads, LogLine};
use crate::otlp::payload::Payload;
use crate::pipeline::ledger::{Account, State};
use crate::pipeline::stats;
use crate::pipeline::stats::{DestinationStats, HoldStats, PipelineStats};
use crate::processor::log_lines::emf::{EmfMetrics, by_destination, by_function};
use crate::processor::log_lines::json::JsonObject;
use crate::time::{timestamp, unix_ms};

#[derive(Debug)]
pub(super) struct StatsReporter {
    function: String,
    reported: PipelineStats,
    holds: HoldStats,
    report_at: Instant,
    /// Whether a payload or a refusal arrived since the last report; these lines themselves do not count.
    has_news: bool,
}

impl StatsReporter {
    pub(super) fn new(function: String, now: Instant) -> Self {
        let (reported, report_at) = (PipelineStats::default(), now + stats::INTERVAL);
        Self { function, reported, holds: HoldStats::default(), report_at, has_news: false }
    }

    pub(super) fn record_news(&mut self) {
        self.has_news = true;
    }

    pub(super) fn held(&mut self, hold: Duration) {
        self.holds.add(hold);
    }

    /// Whether a report is due. The `last` one is due whenever there is news.
    pub(super) fn is_due(&self, now: Instant, last: bool) -> bool {
        self.has_news && (last || now >= self.report_at)
    }

    /// The lines of the changes since the last report. `summary` leaves out the sums of earlier
    /// processes.
    pub(super) fn report(&mut self, now: Instant, summary: PipelineStats) -> Vec<Payload> {
        let holds = std::mem::take(&mut self.holds);
        let lines = account_lines(&self.function, &summary, &self.reported, holds);
        self.reported = summary;
        self.report_at = now + stats::INTERVAL;
        self.has_news = false;
        lines
    }
}

/// The lines of the changes between two stats, with the holds in between.
fn account_lines(
    function: &str,
    now: &PipelineStats,
    before: &PipelineStats,
    holds: HoldStats,
) -> Vec<Payload> {
    let (time, mut signals) = (SystemTime::now(), LinePayloads::default());
    let plain = plain_counts(now, before);
    let plain = plain.into_iter().map(Some).chain(std::iter::repeat(None));
    for (metrics, plain) in metrics(function, now, before, holds).into_iter().zip(plain) {
        let mut line = JsonObject::new();
        line.add("timestamp", &timestamp(time));
        line.add("level", &"INFO");
        line.add("message", &"What became of telemetry");
        line.add("type", &"extension.account");
        metrics.members(time).iter().for_each(|(key, value)| line.add(key, value));
        for (key, count) in plain.into_iter().flatten() {
            line.add(key, &count);
        }
        line.add("lambda", &serde_json::json!({ "function": function }));
        signals.push(LogLine { time_ms: unix_ms(time), json: &line.end() }, false);
    }
    signals.finish()
}

/// The metrics of the changes: for each destination, for the holds, and for refused requests. `Held` and
/// `Spooled` are present numbers, not changes.
fn metrics(
    function: &str,
    now: &PipelineStats,
    before: &PipelineStats,
    holds: HoldStats,
) -> Vec<EmfMetrics> {
    let mut all = Vec::new();
    for (name, destination) in &now.destinations {
        all.push(destination_metrics(name, destination, before.destinations.get(name)));
    }
    if holds.count > 0 {
        let mean = holds.total_ms / holds.count as f64;
        let metrics = by_function(function).with("HoldOfNext", "Milliseconds", Some(mean));
        let longest = Some(holds.longest_ms);
        all.push(metrics.with("LongestHoldOfNext", "Milliseconds", longest));
    }
    let refused = now.refused.total().saturating_sub(before.refused.total());
    if refused > 0 {
        all.push(by_function(function).with("Refused", "Count", Some(refused as f64)));
    }
    all
}

/// The requests and bytes of each destination, for queries: each metric is billed, a member of a line is not.
fn plain_counts(now: &PipelineStats, before: &PipelineStats) -> Vec<[(&'static str, u64); 2]> {
    let counts = now.destinations.iter().map(|(name, now)| {
        let before = before.destinations.get(name).map(|it| it.requests).unwrap_or_default();
        let since = |now: u64, before: u64| now.saturating_sub(before);
        [
            ("requests", since(now.requests.requests, before.requests)),
            ("sent_bytes", since(now.requests.sent_bytes, before.sent_bytes)),
        ]
    });
    counts.collect()
}

fn destination_metrics(
    name: &str,
    now: &DestinationStats,
    before: Option<&DestinationStats>,
) -> EmfMetrics {
    let sum = |of: fn(&Account) -> u64| {
        let total = |it: &DestinationStats| it.accounts.values().map(of).sum::<u64>();
        let (now, before) = (total(now), before.map(total).unwrap_or_default());
        (now, Some(now.saturating_sub(before) as f64))
    };
    let requests = before.map(|before| before.requests).unwrap_or_default();
    let since = |now: u64, before: u64| Some(now.saturating_sub(before) as f64);
    by_destination(name)
        .with("Received", "Count", sum(Account::received).1)
        .with("Delivered", "Count", sum(|it| it.at(State::Delivered)).1)
        .with("Dropped", "Count", sum(Account::lost).1)
        .with("Repeated", "Count", since(now.requests.repeated_items, requests.repeated_items))
        .with(
            "FailedRequests",
            "Count",
            since(now.requests.failed_requests, requests.failed_requests),
        )
        .with("Held", "Count", Some(sum(|it| it.at(State::Held)).0 as f64))
        .with("Spooled", "Count", Some(sum(|it| it.at(State::Spooled)).0 as f64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        delivery::DestinationSpec,
        otlp::{line_codec, payload::SignalKind},
        pipeline::{Core, Trigger, ledger::Ledger, spool::Spool, sums::Sums},
    };
    use crate::{
        pipeline::{circuit_breaker::BreakerState, stats::RequestStats},
        processor::log_lines::tests::assert_is_emf,
    };

    /// The report of a process that continues `sums`, receives `items`, and is killed then.
    fn process(directory: &tempfile::TempDir, sums: &mut Option<Sums>, items: u64) -> Value {
        let kinds = vec![SignalKind::Traces];
        let spec = DestinationSpec {
            name: "durable",
            kinds,
            durable: true,
            max_items: u64::MAX,
            keeps_duplicates: true,
        };
        let mut core = Core::new(vec![spec], 1_000, Trigger::Flush, 1);
        let mut accounting = StatsReporter::new("home".to_owned(), Instant::now());
        let bytes = bytes::Bytes::from_static(&[0]);
        let (kind, has_error, has_unsampled) = (SignalKind::Traces, false, false);
        core.receive(Payload { items, has_error, has_unsampled, ..Payload::empty(kind, bytes) });
        let (spool, recovered) = Spool::open(directory.path(), 1 << 20, &core.names()).unwrap();
        core.use_spool(spool, recovered, sums.take());
        *sums = Some(core.sums());
        let destinations = core.own_destinations(Instant::now());
        let reported = accounting
            .report(Instant::now(), PipelineStats { destinations, ..PipelineStats::default() });
        serde_json::from_str(line_codec::read(&reported[0].bytes).next().unwrap().json).unwrap()
    }

    #[test]
    fn what_processes_tell_one_after_the_other_adds_up_to_the_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sums, mut all) = (None, BTreeMap::new());

        for items in [10, 20, 5] {
            let reported = process(&directory, &mut sums, items);
            for name in ["Received", "Delivered", "Dropped"] {
                *all.entry(name).or_insert(0) += reported[name].as_u64().unwrap();
            }
            assert_eq!(reported["Held"], items);
        }

        let account = sums.unwrap().rows[0].account;
        assert_eq!((account.received(), account.lost()), (35, 30));
        assert_eq!(all, [("Received", 35), ("Delivered", 0), ("Dropped", 30)].into());
    }

    #[test]
    fn holds_are_told_once() {
        let mut accounting = StatsReporter::new("home".to_owned(), Instant::now());
        let mut tell = |holds: &[u64]| {
            holds.iter().for_each(|ms| accounting.held(Duration::from_millis(*ms)));
            let reported = accounting.report(Instant::now(), PipelineStats::default());
            let bytes: Vec<u8> = reported.iter().flat_map(|signal| signal.bytes.to_vec()).collect();
            let line = line_codec::read(&bytes).next().map(|line| line.json.to_owned());
            let line: Value = serde_json::from_str(&line.unwrap_or("{}".to_owned())).unwrap();
            [line["HoldOfNext"].clone(), line["LongestHoldOfNext"].clone()]
        };

        assert_eq!(tell(&[10, 30]), [20, 30]);
        assert_eq!(tell(&[2]), [2, 2]);
        assert_eq!(tell(&[]), [Value::Null, Value::Null]);
    }

    #[test]
    fn the_extensions_account_is_told_as_differences() {
        let mut ledger = Ledger::new(1);
        ledger.received(0, 10);
        let summary = |ledger: &Ledger, requests: u64, sent_bytes: u64| {
            let destination = DestinationStats {
                accounts: [(SignalKind::Traces, ledger.account(0))].into(),
                requests: RequestStats { requests, sent_bytes, ..RequestStats::default() },
                breaker: BreakerState::Closed,
            };
            let destinations = [("honeycomb", destination)].into();
            PipelineStats { destinations, ..PipelineStats::default() }
        };
        let mut holds = HoldStats::default();
        let before = summary(&ledger, 1, 100);
        ledger.received(0, 5);
        ledger.transfer(0, State::Held, State::Delivered, 12);
        holds.add(Duration::from_millis(7));

        let signals = account_lines("home", &summary(&ledger, 3, 600), &before, holds);

        let reported: Vec<Value> = line_codec::read(&signals[0].bytes)
            .map(|line| serde_json::from_str(line.json).unwrap())
            .collect();
        reported.iter().for_each(assert_is_emf);
        assert_eq!(reported[0]["lambda"]["function"], "home");
        assert_eq!(
            (&reported[0]["requests"], &reported[0]["sent_bytes"]),
            (&json!(2), &json!(500))
        );
        assert_eq!(reported[1]["requests"], Value::Null);
        let declared = reported[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
        assert!(!declared.contains("sent_bytes"), "a metric is billed: {declared}");
        let figures = ["Destination", "Received", "Delivered", "Dropped", "Held"]
            .map(|name| reported[0][name].clone());
        assert_eq!(figures, [json!("honeycomb"), json!(5), json!(12), json!(0), json!(3)]);
        assert_eq!(reported[1]["HoldOfNext"], 7);
    }

    #[test]
    fn the_extensions_account_has_the_requests_refused_since_the_last_one() {
        use crate::pipeline::refusals::{Receiver, RefusalLog, RefusalReason, RefusedRequests};
        let mut log = RefusalLog::default();
        let mut reported = Vec::new();

        for count in [3, 2, 0] {
            let before =
                PipelineStats { refused: log.counts().clone(), ..PipelineStats::default() };
            let (receiver, reason, detail) =
                (Receiver::Otlp, RefusalReason::Invalid, String::new());
            log.count(
                tokio::time::Instant::now(),
                &RefusedRequests { receiver, reason, count, detail },
            );
            let now = PipelineStats { refused: log.counts().clone(), ..PipelineStats::default() };
            for signal in account_lines("home", &now, &before, HoldStats::default()) {
                let lines = line_codec::read(&signal.bytes)
                    .map(|it| serde_json::from_str(it.json).unwrap());
                reported.extend(lines.map(|line: Value| {
                    assert_is_emf(&line);
                    line["Refused"].clone()
                }));
            }
        }

        assert_eq!(reported, [3, 2]);
    }
}
