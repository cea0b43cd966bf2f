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
pub mod config;
mod attributes;
mod aws_block;
mod cause;
mod document;
mod http_block;
mod index;
mod limits;
mod name;
mod placement;
mod translate;
mod transport;
mod json_value;

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use ::http::StatusCode;
use opentelemetry_proto::tonic::{common::v1::KeyValue, resource::v1::Resource, trace::v1::Span};
use prost::Message;
use trace_context::{SpanId, TraceId};
use tracing::{debug, warn};

pub use crate::exporter::xray::annotations::AnnotationFilter;
use crate::{
    bounded_map::BoundedMap,
    delivery::{
        DestinationSpec, Exporter,
        batch::Batch,
        error::{ExportError, ExportOutcome},
        healthcheck::Finding,
    },
    exporter::xray::{
        config::XrayConfig,
        index::{Indexed, index},
        limits::{MAX_ANNOTATIONS, write},
        placement::{Placement, Placer},
        translate::{SegmentPlace, translate},
        transport::{SegmentRefusal, Transport},
    },
    invocation::xray_contexts::XrayContexts,
    otlp::payload::SignalKind,
};
use futures_util::future::BoxFuture;

/// Documents of failed batches that are remembered, so that they are not sent again: X-Ray wants
/// none twice. Our choice, about 100 bytes each; of more, the first may be there twice.
const MAX_REMEMBERED: usize = 10_000;

/// A document's name at X-Ray.
type Id = (TraceId, SpanId);

/// See the module's documentation.
#[derive(Debug)]
pub struct Xray {
    wanted: AnnotationFilter,
    places: Placer,
    transport: Transport,
    /// What became of documents of a batch that failed later, so that they are not sent again.
    settled: BoundedMap<Id, AcknowledgedSegments>,
    trimming_reported: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AcknowledgedSegments {
    is_refused: bool,
    annotations: usize,
}

/// A document on its way.
#[derive(Debug)]
struct Segment {
    id: Id,
    json: String,
    annotations: usize,
    /// How often the batch has the span.
    spans: u64,
}

impl Xray {
    /// An exporter that has not opened anything yet.
    ///
    /// `headers` are those of the function's invocations; `None` for spans from a log.
    pub fn new(config: XrayConfig, headers: Option<XrayContexts>) -> Self {
        Self {
            wanted: config.annotations,
            places: Placer::new(headers, config.undecided),
            transport: Transport::new(config.daemon),
            settled: BoundedMap::new(MAX_REMEMBERED),
            trimming_reported: false,
        }
    }

    /// Sends what X-Ray wants of a batch.
    pub async fn export(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
        let request = batch.to_plain().map_err(unreadable)?;
        let (spans, resources) = index(&request);
        let resources: Vec<_> = resources.into_iter().map(attributes_of).collect();
        let mut sending = ExportRun::at(SystemTime::now());
        let fates = self.places.of(&spans, sending.now);
        // Entry spans first: a trace has few annotations, and theirs matter most.
        let is_entry =
            |fate: &Placement| matches!(fate, Placement::Sent(place) if place.entry.is_some());
        let pairs = || spans.iter().zip(&fates);
        let entries = pairs().filter(|(_, fate)| is_entry(fate));
        for (span, fate) in entries.chain(pairs().filter(|(_, fate)| !is_entry(fate))) {
            match fate {
                Placement::Unsampled => sending.receipt.unsampled += 1,
                Placement::Unknown => sending.unknown += 1,
                Placement::Sent(place) => self.prepare(span, place, &resources, &mut sending),
            }
            if sending.ready.len() == self.transport.max_documents() {
                self.send(&mut sending).await?;
            }
        }
        self.send(&mut sending).await?;
        for id in &sending.ids {
            self.settled.let_go(id);
        }
        if sending.unknown > 0 {
            warn!(
                "Whether X-Ray was to have {} spans cannot be told from the log; \
                 CRUDDUR_XRAY_UNDECIDED=1 sends them as traces of their own",
                sending.unknown
            );
        }
        sending.receipt.rejected += sending.unknown;
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
        place: &SegmentPlace,
        resources: &[Vec<KeyValue>],
        sending: &mut ExportRun,
    ) {
        let id = (place.trace_id, place.id);
        let left = sending.annotations_left.entry(place.trace_id).or_insert(MAX_ANNOTATIONS);
        if let Some(settled) = self.settled.get(&id) {
            *left = left.saturating_sub(settled.annotations);
            sending.receipt.rejected += u64::from(settled.is_refused);
            return sending.ids.push(id);
        }
        if let Some(same) = sending.ready.iter_mut().find(|ready| ready.id == id) {
            same.spans += 1;
            return;
        }
        let Ok(decoded) = Span::decode(span.bytes) else {
            debug!("A span that was checked cannot be decoded");
            sending.receipt.rejected += 1;
            return;
        };
        let resource = &resources[span.resource];
        let document = translate(&decoded, resource, place, &self.wanted, *left, sending.now);
        let annotations = document.annotations.len();
        *left = left.saturating_sub(annotations);
        let (json, trimmed) = write(document);
        if trimmed > 0 && !std::mem::replace(&mut self.trimming_reported, true) {
            let name = &decoded.name;
            warn!(
                "A span is too large for X-Ray, {trimmed} of its values are cut or left out: {name:?}"
            );
        }
        sending.ready.push(Segment { id, json, annotations, spans: 1 });
    }

    /// Sends what is ready, in parts if it is refused as a whole, so that only the bad one is lost.
    async fn send(&mut self, sending: &mut ExportRun) -> Result<(), ExportError> {
        let mut parts = vec![std::mem::take(&mut sending.ready)];
        let mut refusals = Refusals::default();
        let result = loop {
            let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) else { break Ok(()) };
            match self.transport.send(&part).await {
                Ok(refused) => {
                    self.settle_part(part, &refused, sending);
                    for SegmentRefusal { code, message, .. } in refused {
                        refusals.add(code, message);
                    }
                }
                Err(error) if is_about_content(&error) && part.len() > 1 => {
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                }
                Err(error) if is_about_content(&error) => {
                    self.settle(&part[0], true, sending);
                    refusals.add("InvalidRequest".to_owned(), error.to_string());
                }
                Err(error) => break Err(error),
            }
        };
        refusals.log();
        result
    }

    /// Each refusal is of one document, and if it does not say of which, of one of the rest.
    fn settle_part(
        &mut self,
        mut part: Vec<Segment>,
        refused: &[SegmentRefusal],
        sending: &mut ExportRun,
    ) {
        let mut unplaced = 0;
        for refusal in refused {
            match part.iter().position(|document| refusal.is_of(document.id.1)) {
                Some(at) => self.settle(&part.remove(at), true, sending),
                None => unplaced += 1,
            }
        }
        for (index, document) in part.iter().enumerate() {
            self.settle(document, index < unplaced, sending);
        }
    }

    fn settle(&mut self, document: &Segment, is_refused: bool, sending: &mut ExportRun) {
        let Segment { id, annotations, spans, .. } = *document;
        sending.receipt.rejected += if is_refused { spans } else { 0 };
        sending.ids.push(id);
        self.settled.insert(id, AcknowledgedSegments { is_refused, annotations });
    }
}

impl Exporter for Xray {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "xray",
            kinds: vec![SignalKind::Traces],
            durable: true,
            keeps_duplicates: true, // X-Ray promises nothing for a second document of one id
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.export(batch))
    }

    fn reset_connections(&mut self) {
        self.disconnect();
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![self.check().await] })
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
struct ExportRun {
    now: SystemTime,
    ready: Vec<Segment>,
    receipt: ExportOutcome,
    /// Spans of which nobody knows any longer whether X-Ray wants them.
    unknown: u64,
    /// How many annotations each trace may still have.
    annotations_left: HashMap<TraceId, usize>,
    /// What became of them need not be remembered when the batch is done.
    ids: Vec<Id>,
}

impl ExportRun {
    fn at(now: SystemTime) -> Self {
        Self {
            now,
            ready: Vec::new(),
            receipt: ExportOutcome::default(),
            unknown: 0,
            annotations_left: HashMap::new(),
            ids: Vec::new(),
        }
    }
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
