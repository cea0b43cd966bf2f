//! Samples for one destination: its payloads wait until the [registry](crate::invocation::registry) has
//! decided on their parts.
//!
//! A payload that is kept whole stays as it is. Of another one the kept items become a payload in its place.
//! After a kill between the two steps the next process decides the first one again, and sends its kept items
//! twice.

use std::time::SystemTime;

use tracing::warn;

use crate::invocation::parts::{PayloadParts, SamplingDecision};
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};
use crate::otlp::sample_rate::{SampleFate, sample};
use crate::pipeline::buffer::Entry;
use crate::pipeline::core::sampler::{PayloadOrigin, Sampler};
use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{Reason, State};
use crate::pipeline::spool::{ReadError, RecordHeader};

impl Core {
    /// Samples for the destination of this name, if the registry samples.
    pub fn with_sampling(mut self, destination: &str, registry: &Registry) -> Self {
        let id = self.destinations.iter().position(|it| it.spec.name == destination);
        let settings = registry.sampling_settings();
        self.sampler = id.zip(settings).map(|(id, settings)| Sampler {
            id,
            registry: registry.clone(),
            rate: settings.rate,
            samples_logs: settings.samples_logs,
            unobserved: Default::default(),
            waiting: Default::default(),
        });
        if let Some(sampler) = &self.sampler {
            self.buffer.set_sampled(sampler.id);
        }
        self
    }

    /// Lets a new payload wait for its decision, if the destination samples its kind.
    pub(super) fn await_decision(
        &mut self,
        sequence: u64,
        kind: SignalKind,
        has_error: bool,
        destinations: u32,
    ) {
        let is_its = |sampler: &&mut Sampler| destinations & (1 << sampler.id) != 0;
        let Some(sampler) = self.sampler.as_mut().filter(is_its) else { return };
        let is_sampled = match kind {
            SignalKind::Traces => true,
            SignalKind::Logs => sampler.samples_logs,
            _ => false,
        };
        if is_sampled {
            self.buffer.set_undecided(sequence, true);
        }
        // An error record keeps the spans of its part.
        if is_sampled || kind == SignalKind::Logs && has_error {
            sampler.unobserved.insert(sequence, PayloadOrigin::ThisProcess);
        }
    }

    /// Whether the sampled destination lacks a record.
    pub(super) fn is_sampled(&self, header: &RecordHeader) -> bool {
        self.sampler.as_ref().is_some_and(|sampler| header.destinations & (1 << sampler.id) != 0)
    }

    /// Lets an undecided payload of an earlier process wait.
    pub(super) fn await_recovered(&mut self, header: &RecordHeader) {
        if let Some(sampler) = self.sampler.as_mut().filter(|_| header.is_undecided) {
            sampler.unobserved.insert(header.sequence, PayloadOrigin::EarlierProcess);
        }
    }

    /// Hands the registry the new payloads, and applies its decisions. `is_last` decides all.
    pub(super) fn settle_samples(&mut self, is_last: bool) {
        let Some(sampler) = &mut self.sampler else { return };
        let registry = sampler.registry.clone();
        for (sequence, origin) in std::mem::take(&mut sampler.unobserved) {
            self.observe(&registry, sequence, origin);
        }
        registry.decide(SystemTime::now(), is_last);
        let Some(sampler) = &mut self.sampler else { return };
        let decided: Vec<_> = sampler.waiting.extract_if(.., |_, it| it.is_decided()).collect();
        for (sequence, parts) in decided {
            if let Some(entry) = self.buffer.get(sequence).cloned() {
                self.apply(&entry, parts);
            }
        }
    }

    fn observe(&mut self, registry: &Registry, sequence: u64, origin: PayloadOrigin) {
        let Some(entry) = self.buffer.get(sequence).cloned() else { return };
        match self.body_of(&entry) {
            Ok(body) => {
                let is_earlier = origin == PayloadOrigin::EarlierProcess;
                let parts = registry.observe(entry.header.kind, &body, is_earlier);
                if let Some(sampler) = self.sampler.as_mut().filter(|_| entry.header.is_undecided) {
                    sampler.waiting.insert(sequence, parts);
                }
            }
            Err(ReadError::Damaged) => self.lose(&entry),
            Err(ReadError::NotNow(error)) => {
                warn!("A spooled payload is sampled later: {error}");
                if let Some(sampler) = &mut self.sampler {
                    sampler.unobserved.insert(sequence, origin);
                }
            }
        }
    }

    /// Applies the decisions on a payload.
    fn apply(&mut self, entry: &Entry, parts: PayloadParts) {
        let Some(sampler) = &mut self.sampler else { return };
        let (id, rate, header) = (sampler.id, sampler.rate, entry.header);
        let Some(route) = self.destinations[id].route_of(header.kind) else { return };
        let left_out = |items| (State::Dropped(Reason::SampledOut), items);
        match parts.common() {
            Some(SamplingDecision::Kept) => return self.keep(header.sequence),
            Some(SamplingDecision::LeftOut) => {
                return self.conclude(id, route, &[header.sequence], &[left_out(header.items)]);
            }
            Some(SamplingDecision::Chosen) | None => {}
        }
        let body = self.body_of(entry);
        let Some(sampler) = &mut self.sampler else { return };
        let body = match body {
            Ok(body) => body,
            Err(ReadError::Damaged) => return self.lose(entry),
            Err(ReadError::NotNow(_)) => {
                sampler.waiting.insert(header.sequence, parts);
                return;
            }
        };
        let sampled = sample(header.kind, &body, rate, |place| match parts.of_item(place) {
            SamplingDecision::Kept => SampleFate::Unweighted,
            SamplingDecision::Chosen => SampleFate::Weighted,
            SamplingDecision::LeftOut => SampleFate::LeftOut,
        });
        let kept = sampled.items.min(header.items);
        // The kept items take the place of the payload.
        let fates = [(State::Held, kept), left_out(header.items - kept)];
        self.conclude(id, route, &[header.sequence], &fates);
        if kept > 0 {
            let kept = self.buffer.push(
                Payload {
                    items: kept,
                    has_error: header.has_error,
                    has_unsampled: header.has_unsampled,
                    ..Payload::empty(header.kind, sampled.bytes.into())
                },
                1 << id,
            );
            self.append(kept);
            self.keep_bound();
        }
    }

    /// The destination gets the payload as it is, also from the next process.
    fn keep(&mut self, sequence: u64) {
        let Some(entry) = self.buffer.set_undecided(sequence, false).cloned() else { return };
        let header = self.on_disk(&entry);
        if let (Some(location), Some(spool)) = (entry.location, &self.spool) {
            spool.set_state(location, &header);
        }
    }
}
