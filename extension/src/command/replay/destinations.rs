//! Where replayed lines go: a pipeline for each destination, since a line is for one of them alone.

use crate::{
    command::{complain, replay::report::Sums},
    config::Config,
    delivery::DestinationSpec,
    otlp::payload::SignalKind,
    pipeline::{
        Pipeline, PipelineHandle, PipelineSettings, Trigger,
        dead_letter::DeadLetter,
        ledger::{Account, Reason, State},
    },
};

/// Those that are configured here and worth a line; none in a dry run.
#[derive(Debug, Default)]
pub(super) struct Destinations(Vec<ReplayDestination>);

#[derive(Debug)]
struct ReplayDestination {
    name: &'static str,
    kinds: Vec<SignalKind>,
    keeps_duplicates: bool,
    pipeline: PipelineHandle,
}

/// Items of all destinations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// They wait.
    pub(super) held: u64,
    /// It is known what became of them.
    pub(super) settled: u64,
    /// Those of them that were delivered.
    pub(super) delivered: u64,
}

/// What became of the items of one destination and kind.
#[derive(Debug)]
pub(super) struct ReplayOutcome {
    pub(super) destination: String,
    pub(super) kind: SignalKind,
    pub(super) lines: u64,
    pub(super) items: u64,
    pub(super) end: ReplayEnd,
}

#[derive(Debug)]
pub(super) enum ReplayEnd {
    /// Here is nobody who would take it.
    NotConfigured,
    /// It was a dry run.
    NotTried,
    /// It was sent to the end.
    Settled(Account),
}

impl ReplayOutcome {
    /// Whether nothing needs to be done about it.
    pub(super) fn is_good(&self) -> bool {
        match &self.end {
            ReplayEnd::NotConfigured => false,
            ReplayEnd::NotTried => true,
            ReplayEnd::Settled(account) => {
                let unsampled = account.at(State::Dropped(Reason::Unsampled));
                account.at(State::Delivered) + unsampled == self.items
            }
        }
    }
}

impl Destinations {
    /// Leaves out, and names, those that would refuse everything: a wrong key does not become right
    /// by waiting. Who only does not answer may answer later.
    pub(super) async fn start(config: Config) -> Self {
        let exporters = config.exporters(None);
        // What is read waits in memory, and never so much that something would be dropped.
        let settings = config.pipeline_settings();
        let settings = PipelineSettings { spool_bytes: 0, buffer_bytes: usize::MAX, ..settings };
        let mut started = Vec::new();
        for mut exporter in exporters.into_iter().filter(|exporter| exporter.spec().durable) {
            let spec = exporter.spec();
            let findings = exporter.healthcheck().await;
            if let Some(finding) = findings.iter().find(|finding| finding.prevents_sending) {
                complain(&format!("{}: {}", spec.name, finding.text));
                continue;
            }
            let (pipeline, handle) = Pipeline::new(vec![exporter], &settings, Trigger::Receive);
            tokio::spawn(pipeline.run());
            let DestinationSpec { name, kinds, keeps_duplicates, .. } = spec;
            started.push(ReplayDestination { name, kinds, keeps_duplicates, pipeline: handle });
        }
        Self(started)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names of those where what is sent twice is there twice.
    pub(super) fn keepers_of_duplicates(&self) -> Vec<&'static str> {
        let keepers = self.0.iter().filter(|destination| destination.keeps_duplicates);
        keepers.map(|destination| destination.name).collect()
    }

    /// Hands a line's content to its destination, if that is here.
    pub(super) async fn send(&self, replay: DeadLetter) {
        if let Some(destination) = self.of(&replay.destination, replay.signal.kind) {
            // Should the pipeline have ended, the sums will show it.
            let _ = destination.pipeline.receive(replay.signal).await;
        }
    }

    pub(super) async fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for destination in &self.0 {
            for (_, account) in destination.accounts().await {
                counts.held += account.at(State::Held);
                counts.settled += account.received() - account.at(State::Held);
                counts.delivered += account.at(State::Delivered);
            }
        }
        counts
    }

    /// What became of everything that was counted.
    pub(super) async fn fates(&self, sums: &Sums, dry_run: bool) -> Vec<ReplayOutcome> {
        let mut fates = Vec::new();
        for ((destination, kind), count) in &sums.found {
            let end = match self.of(destination, *kind) {
                _ if dry_run => ReplayEnd::NotTried,
                None => ReplayEnd::NotConfigured,
                Some(here) => {
                    let accounts = here.accounts().await;
                    let account = accounts.into_iter().find(|(of, _)| of == kind);
                    ReplayEnd::Settled(account.map(|(_, account)| account).unwrap_or_default())
                }
            };
            let (lines, items) = (count.lines, count.items);
            fates.push(ReplayOutcome {
                destination: destination.clone(),
                kind: *kind,
                lines,
                items,
                end,
            });
        }
        fates
    }

    fn of(&self, name: &str, kind: SignalKind) -> Option<&ReplayDestination> {
        self.0
            .iter()
            .find(|destination| destination.name == name && destination.kinds.contains(&kind))
    }
}

impl ReplayDestination {
    async fn accounts(&self) -> Vec<(SignalKind, Account)> {
        let summary = self.pipeline.summary().await.unwrap_or_default();
        summary.destinations.into_values().flat_map(|destination| destination.accounts).collect()
    }
}
