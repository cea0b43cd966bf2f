//! Sends spans to X-Ray as segment documents.
//!
//! ```text
//! batch ─▶ index ─▶ places ─▶ translate ─▶ limits ─▶ transport
//!          ids and   which     a document   64 kB     50 a call, or
//!          parents   trace     of a span              a datagram each
//! ```
//! `attributes` finds what has a meaning; `name`, `http`, `aws`, `cause` and
//! `annotations` are what a document is made of. Read `places` for what becomes of a span when
//! X-Ray and OpenTelemetry disagree about its trace, its parent, or whether it is sampled.
//!
//! A batch fails as a whole only if nobody answers or X-Ray wants to be left alone. What X-Ray
//! takes before that is remembered, and not sent again with the batch. A document that it refuses
//! is dropped and counted alone.

mod annotations;
mod attributes;
mod aws;
mod cause;
mod document;
mod http;
mod index;
mod limits;
mod name;
mod places;
mod translate;
mod transport;
mod value;

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use ::http::StatusCode;
use opentelemetry_proto::tonic::{common::v1::KeyValue, resource::v1::Resource, trace::v1::Span};
use prost::Message;
use trace_context::{SpanId, TraceId};
use tracing::{debug, warn};

pub use self::annotations::Wanted;
use self::{
    index::{Indexed, index},
    limits::{MAX_ANNOTATIONS, write},
    places::{Fate, Places},
    translate::{Place, translate},
    transport::Transport,
};
use super::{ExportError, Receipt, check::Finding};
use crate::{batch::Batch, config, trace_headers::TraceHeaders};

/// Most documents of one call; X-Ray says "Exceeding maximum segment count: 50" above that.
const MAX_DOCUMENTS: usize = 50;

/// Documents of a failed batch that are remembered as taken. Our choice, about 50 bytes each; the
/// rest is sent again, which overwrites what X-Ray has with the same.
const MAX_REMEMBERED: usize = 10_000;

/// A document's name at X-Ray.
type Id = (TraceId, SpanId);

/// See the module's documentation.
#[derive(Debug)]
pub struct Xray {
    wanted: Wanted,
    places: Places,
    transport: Transport,
    /// What became of documents of a batch that failed later, so that they are not sent again.
    settled: HashMap<Id, Settled>,
    trimming_reported: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Taken,
    Refused,
}

/// A document on its way.
#[derive(Debug)]
struct Ready {
    id: Id,
    json: String,
}

impl Xray {
    /// An exporter that has not opened anything yet.
    pub fn new(config: config::Xray, headers: TraceHeaders) -> Self {
        Self {
            wanted: config.annotations,
            places: Places::new(headers, config.undecided),
            transport: Transport::new(config.daemon),
            settled: HashMap::new(),
            trimming_reported: false,
        }
    }

    /// Sends what X-Ray wants of a batch.
    pub async fn export(&mut self, batch: &Batch) -> Result<Receipt, ExportError> {
        let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
        let request = batch.to_plain().map_err(unreadable)?;
        let (spans, resources) = index(&request);
        let resources: Vec<_> = resources.into_iter().map(attributes_of).collect();
        let mut sending = Sending {
            now: SystemTime::now(),
            ready: Vec::new(),
            receipt: Receipt::default(),
            annotations_left: HashMap::new(),
            ids: Vec::new(),
        };
        let fates = self.places.of(&spans, sending.now);
        // Entry spans first: a trace has few annotations, and theirs matter most.
        let is_entry = |fate: &Fate| matches!(fate, Fate::Sent(place) if place.entry.is_some());
        let pairs = || spans.iter().zip(&fates);
        let entries = pairs().filter(|(_, fate)| is_entry(fate));
        for (span, fate) in entries.chain(pairs().filter(|(_, fate)| !is_entry(fate))) {
            match fate {
                Fate::Unsampled => sending.receipt.unsampled += 1,
                Fate::Twin => {}
                Fate::Sent(place) => self.prepare(span, place, &resources, &mut sending),
            }
            if sending.ready.len() == MAX_DOCUMENTS {
                self.send(&mut sending).await?;
            }
        }
        self.send(&mut sending).await?;
        for id in &sending.ids {
            self.settled.remove(id);
        }
        Ok(sending.receipt)
    }

    /// Whether it can send.
    pub async fn check(&mut self) -> Finding {
        self.transport.check().await
    }

    /// The next batch makes a new connection.
    pub fn disconnect(&mut self) {
        self.transport.disconnect();
    }

    fn prepare(
        &mut self,
        span: &Indexed<'_>,
        place: &Place,
        resources: &[Vec<KeyValue>],
        sending: &mut Sending,
    ) {
        let id = (place.trace_id, place.id);
        match self.settled.get(&id) {
            Some(Settled::Taken) => return sending.ids.push(id),
            Some(Settled::Refused) => {
                sending.receipt.rejected += 1;
                return sending.ids.push(id);
            }
            None => {}
        }
        let Ok(decoded) = Span::decode(span.bytes) else {
            debug!("A span that was checked cannot be decoded");
            sending.receipt.rejected += 1;
            return;
        };
        let resource = &resources[span.resource];
        let left = sending.annotations_left.entry(place.trace_id).or_insert(MAX_ANNOTATIONS);
        let document = translate(&decoded, resource, place, &self.wanted, *left, sending.now);
        *left = left.saturating_sub(document.annotations.len());
        let (json, trimmed) = write(document);
        if trimmed > 0 && !std::mem::replace(&mut self.trimming_reported, true) {
            let name = &decoded.name;
            warn!(
                "A span is too large for X-Ray, {trimmed} of its values are cut or left out: {name:?}"
            );
        }
        sending.ready.push(Ready { id, json });
    }

    /// Sends what is ready, in parts if it is refused as a whole, so that only the bad one is lost.
    async fn send(&mut self, sending: &mut Sending) -> Result<(), ExportError> {
        let mut parts = vec![std::mem::take(&mut sending.ready)];
        let mut refusals = Refusals::default();
        let result = loop {
            let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) else { break Ok(()) };
            match self.transport.send(&part).await {
                Ok(refused) => {
                    for document in &part {
                        let is_refused = refused.iter().any(|it| it.is_of(document.id.1));
                        let settled = if is_refused { Settled::Refused } else { Settled::Taken };
                        self.settle(document.id, settled, sending);
                    }
                    // One whose id could not be read is one of them all.
                    let nameless = refused.iter().filter(|it| it.id.is_none()).count();
                    sending.receipt.rejected += nameless as u64;
                    refused
                        .into_iter()
                        .for_each(|refusal| refusals.add(refusal.code, refusal.message));
                }
                Err(error) if is_about_content(&error) && part.len() > 1 => {
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                }
                Err(error) if is_about_content(&error) => {
                    self.settle(part[0].id, Settled::Refused, sending);
                    refusals.add("InvalidRequest".to_owned(), error.to_string());
                }
                Err(error) => break Err(error),
            }
        };
        refusals.log();
        result
    }

    fn settle(&mut self, id: Id, settled: Settled, sending: &mut Sending) {
        sending.receipt.rejected += u64::from(settled == Settled::Refused);
        sending.ids.push(id);
        if self.settled.len() < MAX_REMEMBERED {
            self.settled.insert(id, settled);
        }
    }
}

/// What was refused: how many by each code, and one message of it.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<String, (u64, String)>);

impl Refusals {
    fn add(&mut self, code: String, message: String) {
        self.0.entry(code).or_insert((0, message)).0 += 1;
    }

    fn log(self) {
        for (code, (count, message)) in self.0 {
            warn!("X-Ray did not take {count} documents: {code}: {message}");
        }
    }
}

/// A batch under way.
#[derive(Debug)]
struct Sending {
    now: SystemTime,
    ready: Vec<Ready>,
    receipt: Receipt,
    /// How many annotations each trace may still have.
    annotations_left: HashMap<TraceId, usize>,
    /// What became of them need not be remembered when the batch is done.
    ids: Vec<Id>,
}

/// Whether another set of documents might be taken.
fn is_about_content(error: &ExportError) -> bool {
    let about = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
    matches!(error, ExportError::Status { status, .. } if about.contains(status))
}

fn attributes_of(resource: &[u8]) -> Vec<KeyValue> {
    // It was checked when it was received.
    Resource::decode(resource).unwrap_or_default().attributes
}

#[cfg(test)]
mod tests;
