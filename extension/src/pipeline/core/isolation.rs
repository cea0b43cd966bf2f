//! Finds the payload that a destination cannot take among those that it can.
//!
//! A batch with a final refusal is sent again in parts at once. A batch that gets a server error again and
//! again is sent in parts too: one payload may be the cause. In parts, a payload with a server error
//! becomes a suspect, and its neighbours go on. Each flush tries the suspects alone, after all else. A
//! suspect is dropped as rejected after [`MOST_FAILURES`], if the destination accepts other payloads.

use tracing::warn;

use crate::delivery::DestinationId;
use crate::pipeline::core::destination::{InFlight, Split, Suspicion};
use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{QueueId, Reason, State};

/// Server errors until a batch is sent in parts, or a suspect is dropped: two may be one short outage.
const MOST_FAILURES: u32 = 3;

/// Server errors without a success until the rest of a split batch waits: the destination is down.
const SPLIT_FAILURES: u32 = 2;

impl Core {
    /// The next payload of a batch that is sent in parts.
    pub(super) fn next_alone(&mut self, id: DestinationId) -> Option<(QueueId, u64)> {
        let destination = &mut self.destinations[id];
        while let Some(sequence) = destination.split.as_mut()?.sequences.pop_front() {
            let entry = self.buffer.get(sequence).filter(|entry| entry.is_lacked_by(id));
            if let Some(entry) = entry.filter(|_| !destination.holds_back(sequence)) {
                return Some((destination.route_of(entry.header.kind)?, sequence));
            }
        }
        destination.split = None;
        None
    }

    /// The next suspect that this flush has not tried.
    pub(super) fn next_suspect(&mut self, id: DestinationId) -> Option<(QueueId, u64)> {
        let Self { buffer, destinations, .. } = self;
        let destination = &mut destinations[id];
        destination.suspects.retain(|sequence, _| {
            buffer.get(*sequence).is_some_and(|entry| entry.is_lacked_by(id))
        });
        let mut untried =
            destination.suspects.keys().filter(|it| !destination.skipped.contains(it));
        let suspect = *untried.next()?;
        Some((destination.route_of(buffer.get(suspect)?.header.kind)?, suspect))
    }

    /// Splits a rejected batch, so that only the bad part is lost. False if it cannot be split.
    pub(super) fn split(&mut self, id: DestinationId, under_way: &InFlight) -> bool {
        if under_way.sequences.len() > 1 {
            self.buffer.give_back(id);
            self.send_alone(id, under_way.sequences.clone());
            return true;
        }
        let Ok(parts) = under_way.batch.split() else { return false };
        if parts.len() < 2 {
            return false;
        }
        let items = under_way.batch.items;
        debug_assert_eq!(parts.iter().map(|part| part.items).sum::<u64>(), items);
        // The parts take the place of the whole payload.
        self.release(id, under_way, &[(State::Held, items)]);
        let push = |part| self.buffer.push(part, 1 << id);
        let sequences: Vec<u64> = parts.into_iter().map(push).collect();
        for sequence in &sequences {
            self.append(*sequence);
        }
        self.send_alone(id, sequences);
        true
    }

    fn send_alone(&mut self, id: DestinationId, sequences: Vec<u64>) {
        let earlier = self.destinations[id].split.take().unwrap_or_default();
        let sequences = sequences.into_iter().chain(earlier.sequences).collect();
        let took_some = earlier.took_some;
        self.destinations[id].split = Some(Split { sequences, took_some, failures: 0 });
    }

    /// Handles a server error if the batch may hold the cause. False if the destination has failed.
    pub(super) fn isolate(&mut self, id: DestinationId, under_way: &InFlight) -> bool {
        let destination = &mut self.destinations[id];
        destination.server_errors += 1;
        if !under_way.is_alone {
            if destination.server_errors >= MOST_FAILURES {
                destination.server_errors = 0;
                self.send_alone(id, under_way.sequences.clone());
            }
            return false;
        }
        let [sequence] = under_way.sequences[..] else { return false };
        destination.skipped.insert(sequence);
        let new = Suspicion { failures: 1, accepts_others: false };
        let suspicion = destination.suspects.entry(sequence).or_insert(new);
        if std::mem::take(&mut suspicion.accepts_others) {
            suspicion.failures += 1;
        }
        if suspicion.failures >= MOST_FAILURES {
            let (items, unit) = (under_way.batch.items, under_way.batch.kind.items());
            let name = destination.spec.name;
            warn!("{name} answers {items} {unit} with server errors, and takes others: dropped");
            self.release(id, under_way, &[(State::Dropped(Reason::Rejected), items)]);
            return true;
        }
        self.buffer.give_back(id);
        self.goes_on(id)
    }

    /// Whether a destination that refused a suspect gets other payloads at once.
    fn goes_on(&mut self, id: DestinationId) -> bool {
        let destination = &mut self.destinations[id];
        let accepts = destination.had_success;
        let Some(split) = &mut destination.split else { return accepts };
        split.failures += 1;
        let goes_on = split.took_some || split.failures < SPLIT_FAILURES;
        if !goes_on {
            destination.split = None;
        }
        goes_on
    }
}
