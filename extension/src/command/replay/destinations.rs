//! One pipeline for each destination, since a dead letter is for one destination alone.

use crate::command::output::print_error;
use crate::command::replay::outcome::{ReplayEnd, ReplayOutcome, Totals};
use crate::config::Config;
use crate::delivery::DestinationSpec;
use crate::otlp::payload::SignalKind;
use crate::pipeline::dead_letter::DeadLetter;
use crate::pipeline::ledger::{Account, State};
use crate::pipeline::{Pipeline, PipelineHandle, PipelineSettings, Trigger};

/// The durable destinations that are configured here; none in a dry run.
#[derive(Debug, Default)]
pub(super) struct Destinations(Vec<ReplayDestination>);

#[derive(Debug)]
struct ReplayDestination {
    name: &'static str,
    kinds: Vec<SignalKind>,
    keeps_duplicates: bool,
    pipeline: PipelineHandle,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) held: u64,
    pub(super) completed: u64,
    pub(super) delivered: u64,
}

impl Destinations {
    /// Reports and omits destinations that refuse everything, for example a wrong key. A destination
    /// that only does not answer is kept, since it may answer later.
    pub(super) async fn start(config: Config) -> Self {
        let exporters = config.exporters(None);
        // `Sender` bounds the bytes in memory, so the buffer needs no limit and drops nothing.
        let settings = config.pipeline_settings();
        let settings = PipelineSettings { spool_bytes: 0, buffer_bytes: usize::MAX, ..settings };
        let mut started = Vec::new();
        for mut exporter in exporters.into_iter().filter(|exporter| exporter.spec().durable) {
            let spec = exporter.spec();
            let findings = exporter.healthcheck().await;
            if let Some(finding) = findings.iter().find(|finding| finding.prevents_sending) {
                print_error(&format!("{}: {}", spec.name, finding.text));
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

    /// The destinations that store a batch twice if it is sent twice.
    pub(super) fn names_with_duplicates(&self) -> Vec<&'static str> {
        let names = self.0.iter().filter(|destination| destination.keeps_duplicates);
        names.map(|destination| destination.name).collect()
    }

    /// Ignores a dead letter whose destination is not configured.
    pub(super) async fn send(&self, letter: DeadLetter) {
        if let Some(destination) = self.find(&letter.destination, letter.signal.kind) {
            // If the pipeline has ended, the counts show the loss.
            let _ = destination.pipeline.receive(letter.signal).await;
        }
    }

    pub(super) async fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for destination in &self.0 {
            for (_, account) in destination.accounts().await {
                counts.held += account.at(State::Held);
                counts.completed += account.received() - account.at(State::Held);
                counts.delivered += account.at(State::Delivered);
            }
        }
        counts
    }

    pub(super) async fn outcomes(&self, totals: &Totals, dry_run: bool) -> Vec<ReplayOutcome> {
        let mut outcomes = Vec::new();
        for ((destination, kind), count) in &totals.found {
            let end = match self.find(destination, *kind) {
                _ if dry_run => ReplayEnd::DryRun,
                None => ReplayEnd::NotConfigured,
                Some(destination) => {
                    let accounts = destination.accounts().await;
                    let account = accounts.into_iter().find(|(of, _)| of == kind);
                    ReplayEnd::Sent(account.map(|(_, account)| account).unwrap_or_default())
                }
            };
            let (lines, items) = (count.lines, count.items);
            outcomes.push(ReplayOutcome {
                destination: destination.clone(),
                kind: *kind,
                lines,
                items,
                end,
            });
        }
        outcomes
    }

    fn find(&self, name: &str, kind: SignalKind) -> Option<&ReplayDestination> {
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
