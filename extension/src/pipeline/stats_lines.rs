//! The summary as lines, for destinations that take lines: when one is due.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    otlp::payload::Payload,
    pipeline::stats::{self, HoldStats, PipelineStats},
    processor::log_lines,
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct StatsReporter {
    function: String,
    told: PipelineStats,
    /// Since then.
    holds: HoldStats,
    tell_at: Instant,
    /// Whether something came since: these lines alone are no news.
    has_news: bool,
}

impl StatsReporter {
    pub(super) fn new(function: String, now: Instant) -> Self {
        let (told, tell_at) = (PipelineStats::default(), now + stats::INTERVAL);
        Self { function, told, holds: HoldStats::default(), tell_at, has_news: false }
    }

    /// A signal has come.
    pub(super) fn note(&mut self) {
        self.has_news = true;
    }

    /// Next was kept back for so long.
    pub(super) fn held(&mut self, hold: Duration) {
        self.holds.note(hold);
    }

    /// Whether it is time; the `last` one is always due if there is anything to tell.
    pub(super) fn is_due(&self, now: Instant, last: bool) -> bool {
        self.has_news && (last || now >= self.tell_at)
    }

    /// What has changed since the last time, by this process's own sums.
    pub(super) fn tell(&mut self, now: Instant, summary: PipelineStats) -> Vec<Payload> {
        let holds = std::mem::take(&mut self.holds);
        let lines = log_lines::account(&self.function, &summary, &self.told, holds);
        self.told = summary;
        self.tell_at = now + stats::INTERVAL;
        self.has_news = false;
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::{
        delivery::DestinationSpec,
        otlp::payload::SignalKind,
        pipeline::{Core, Trigger, ledger::Ledger, spool::Spool},
    };

    /// What a process tells, that receives so much on top of an earlier one's sums and is killed then.
    fn process(directory: &tempfile::TempDir, sums: &mut Ledger, items: u64) -> Value {
        let kinds = vec![SignalKind::Traces];
        let spec =
            DestinationSpec { name: "durable", kinds, durable: true, keeps_duplicates: true };
        let mut core = Core::new(vec![spec], 1_000, Trigger::Flush, 1);
        let mut accounting = StatsReporter::new("home".to_owned(), Instant::now());
        let bytes = bytes::Bytes::from_static(&[0]);
        let (kind, has_error, has_unsampled) = (SignalKind::Traces, false, false);
        core.receive(Payload { kind, bytes, items, has_error, has_unsampled });
        core.use_spool(Spool::open(directory.path(), 1 << 20).unwrap(), sums.clone());
        *sums = core.ledger().clone();
        let destinations = core.own_destinations(Instant::now());
        let told = accounting
            .tell(Instant::now(), PipelineStats { destinations, ..PipelineStats::default() });
        serde_json::from_str(log_lines::read(&told[0].bytes).next().unwrap().json).unwrap()
    }

    #[test]
    fn what_processes_tell_one_after_the_other_adds_up_to_the_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sums, mut all) = (Ledger::new(1), BTreeMap::new());

        for items in [10, 20, 5] {
            let told = process(&directory, &mut sums, items);
            for name in ["Received", "Delivered", "Dropped"] {
                *all.entry(name).or_insert(0) += told[name].as_u64().unwrap();
            }
            assert_eq!(told["Held"], items);
        }

        let account = sums.account(0);
        assert_eq!((account.received(), account.lost()), (35, 30));
        assert_eq!(all, [("Received", 35), ("Delivered", 0), ("Dropped", 30)].into());
    }

    #[test]
    fn holds_are_told_once() {
        let mut accounting = StatsReporter::new("home".to_owned(), Instant::now());
        let mut tell = |holds: &[u64]| {
            holds.iter().for_each(|ms| accounting.held(Duration::from_millis(*ms)));
            let told = accounting.tell(Instant::now(), PipelineStats::default());
            let bytes: Vec<u8> = told.iter().flat_map(|signal| signal.bytes.to_vec()).collect();
            let line = log_lines::read(&bytes).next().map(|line| line.json.to_owned());
            let line: Value = serde_json::from_str(&line.unwrap_or("{}".to_owned())).unwrap();
            [line["HoldOfNext"].clone(), line["LongestHoldOfNext"].clone()]
        };

        assert_eq!(tell(&[10, 30]), [20, 30]);
        assert_eq!(tell(&[2]), [2, 2]);
        assert_eq!(tell(&[]), [Value::Null, Value::Null]);
    }
}
