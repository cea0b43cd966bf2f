//! Sends spans to X-Ray as segment documents.
//!
//! ```text
//! batch ─▶ index ─▶ placement ─▶ translate ─▶ serialize ─▶ transport
//!          ids and   which        a document    64 kB        50 a call, or
//!          parents   trace        of a span                  a datagram each
//! ```
//! `attributes` sorts a span's attributes; `name`, `http_block`, `aws_block`, `cause` and
//! `annotations` build the parts of a document. `placement` explains where a span goes if X-Ray and
//! OpenTelemetry disagree about its trace, its parent or its sampling.
//!
//! A batch fails as a whole only if X-Ray is unreachable or throttles, the call or single documents.
//! Documents that X-Ray accepted before the failure are not sent again with the batch. A document that
//! is refused for good is dropped and counted alone.

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
mod segment;
mod serialize;
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
use trace_context::TraceId;
use tracing::{info, warn};

use crate::bounded_map::BoundedMap;
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
pub use crate::exporter::xray::annotations::AnnotationFilter;
use crate::exporter::xray::config::{VARIABLES, XrayConfig};
use crate::exporter::xray::index::{Indexed, index};
use crate::exporter::xray::limits::MAX_ANNOTATIONS;
use crate::exporter::xray::placement::{Placement, Placer};
use crate::exporter::xray::segment::{Segment, SegmentId, SegmentRefusal};
use crate::exporter::xray::serialize::to_bounded_json;
use crate::exporter::xray::translate::{SegmentPlace, translate};
use crate::exporter::xray::transport::Transport;
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};
use futures_util::future::BoxFuture;

/// Most acknowledged documents of failed batches, about 100 bytes each. Beyond it, the oldest may be
/// sent again, which X-Ray asks senders to avoid.
const MAX_ACKNOWLEDGED: usize = 10_000;

pub const KIND: ExporterKind = ExporterKind {
    name: "xray",
    variables: VARIABLES,
    read: |reader, selection| {
        // Without its permission every export would fail, so it runs only if it is named.
        Some(Box::new(selection.is_named.then(|| XrayConfig::read(reader))??))
    },
};

impl ExporterConfig for XrayConfig {
    fn start(&self, registry: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Xray::new(self.clone(), registry.cloned()))
    }
}

#[derive(Debug)]
pub struct Xray {
    annotation_filter: AnnotationFilter,
    placer: Placer,
    transport: Transport,
    /// Documents that X-Ray accepted or refused from a batch that failed later.
    acknowledged: BoundedMap<SegmentId, AcknowledgedSegment>,
    has_reported_trimming: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AcknowledgedSegment {
    is_refused: bool,
    annotations: usize,
}

impl Xray {
    /// Opens no connection. `registry` is `None` for spans from a log.
    pub fn new(config: XrayConfig, registry: Option<Registry>) -> Self {
        Self {
            annotation_filter: config.annotations,
            placer: Placer::new(registry, config.undecided),
            transport: Transport::new(config.daemon),
            acknowledged: BoundedMap::new(MAX_ACKNOWLEDGED),
            has_reported_trimming: false,
        }
    }

    async fn send_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
        let request = batch.to_plain().map_err(unreadable)?;
        let (spans, resources) = index(&request);
        let resources: Vec<_> = resources.into_iter().map(attributes_of).collect();
        let mut run = ExportRun::new(SystemTime::now());
        let placements = self.placer.place_spans(&spans, run.now);
        // Entry spans first: their annotations matter most, and X-Ray indexes few of a trace.
        let is_entry = |placement: &Placement| matches!(placement, Placement::Sent(place) if place.entry.is_some());
        let pairs = || spans.iter().zip(&placements);
        let entries = pairs().filter(|(_, placement)| is_entry(placement));
        for (span, placement) in
            entries.chain(pairs().filter(|(_, placement)| !is_entry(placement)))
        {
            match placement {
                Placement::Unsampled => run.outcome.unsampled += 1,
                Placement::Unknown => run.unknown += 1,
                Placement::Sent(place) => self.prepare(span, place, &resources, &mut run),
            }
            if run.ready.len() == self.transport.max_documents() * self.transport.max_calls() {
                self.send(&mut run).await?;
            }
        }
        self.send(&mut run).await?;
        for id in &run.ids {
            self.acknowledged.remove(id);
        }
        if run.unknown > 0 {
            warn!(
                "The log does not show whether {} spans are sampled for X-Ray, so they are not sent; \
                 CRUDDUR_XRAY_UNDECIDED=1 sends them as separate traces",
                run.unknown
            );
        }
        run.outcome.rejected += run.unknown;
        Ok(run.outcome)
    }

    fn prepare(
        &mut self,
        span: &Indexed<'_>,
        place: &SegmentPlace,
        resources: &[Vec<KeyValue>],
        run: &mut ExportRun,
    ) {
        let id = (place.trace_id, place.id);
        let left = run.annotations_left.entry(place.trace_id).or_insert(MAX_ANNOTATIONS);
        if let Some(known) = self.acknowledged.get(&id) {
            *left = left.saturating_sub(known.annotations);
            run.outcome.rejected += u64::from(known.is_refused);
            return run.ids.push(id);
        }
        if let Some(&same) = run.places.get(&id) {
            run.ready[same].spans += 1;
            return;
        }
        let Ok(decoded) = Span::decode(span.bytes) else {
            info!("A span passed the check of its encoding but cannot be decoded");
            run.outcome.rejected += 1;
            return;
        };
        let resource = &resources[span.resource];
        let document =
            translate(&decoded, resource, place, &self.annotation_filter, *left, run.now);
        let annotations = document.annotations.len();
        *left = left.saturating_sub(annotations);
        let (json, trimmed) = to_bounded_json(document);
        if trimmed > 0 && !std::mem::replace(&mut self.has_reported_trimming, true) {
            let name = &decoded.name;
            warn!(
                "A span is too large for X-Ray; {trimmed} of its values were cut or omitted: {name:?}"
            );
        }
        run.places.insert(id, run.ready.len());
        run.ready.push(Segment { id, json, annotations, spans: 1 });
    }

    /// Sends the ready documents, several calls at once. A call that is refused as a whole is halved, so
    /// that only the invalid document is lost.
    async fn send(&mut self, run: &mut ExportRun) -> Result<(), ExportError> {
        run.places.clear();
        let mut documents = std::mem::take(&mut run.ready);
        let mut parts = Vec::new();
        while !documents.is_empty() {
            let most = self.transport.max_documents().min(documents.len());
            parts.push(documents.drain(..most).collect::<Vec<_>>());
        }
        let mut refusals = Refusals::default();
        let mut result = Ok(());
        while result.is_ok() && !parts.is_empty() {
            let results = self.transport.send(&parts).await;
            for (part, sent) in std::mem::take(&mut parts).into_iter().zip(results) {
                match self.conclude(part, sent, &mut refusals, run) {
                    Ok(halves) => parts.extend(halves),
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        refusals.log();
        result
    }

    /// Accounts for a call. Returns the halves of a part that was refused as a whole.
    fn conclude(
        &mut self,
        mut part: Vec<Segment>,
        sent: Result<Vec<SegmentRefusal>, ExportError>,
        refusals: &mut Refusals,
        run: &mut ExportRun,
    ) -> Result<Vec<Vec<Segment>>, ExportError> {
        match sent {
            Ok(refused) => {
                let temporary = refused.iter().find(|refusal| refusal.is_temporary());
                let postponed = temporary.map(throttled);
                self.acknowledge_part(part, &refused, run);
                for refusal in refused.into_iter().filter(|it| !it.is_temporary()) {
                    refusals.add(refusal.code, refusal.message);
                }
                postponed.map_or(Ok(Vec::new()), Err)
            }
            Err(error) if is_about_content(&error) && part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                Ok(vec![part, second])
            }
            Err(error) if is_about_content(&error) => {
                self.acknowledge(&part[0], true, run);
                refusals.add("InvalidRequest".to_owned(), error.to_string());
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Each refusal concerns one document; a refusal without an id counts for any remaining one. A
    /// temporarily refused document is not acknowledged, so it is sent again with the batch. If it has no id,
    /// none of the remaining ones is acknowledged.
    fn acknowledge_part(
        &mut self,
        mut part: Vec<Segment>,
        refused: &[SegmentRefusal],
        run: &mut ExportRun,
    ) {
        let (mut unidentified, mut is_unclear) = (0, false);
        for refusal in refused {
            match part.iter().position(|document| refusal.is_of(document.id.1)) {
                Some(at) if refusal.is_temporary() => drop(part.remove(at)),
                Some(at) => self.acknowledge(&part.remove(at), true, run),
                None if refusal.is_temporary() => is_unclear = true,
                None => unidentified += 1,
            }
        }
        if is_unclear {
            return;
        }
        for (index, document) in part.iter().enumerate() {
            self.acknowledge(document, index < unidentified, run);
        }
    }

    fn acknowledge(&mut self, document: &Segment, is_refused: bool, run: &mut ExportRun) {
        let Segment { id, annotations, spans, .. } = *document;
        run.outcome.rejected += if is_refused { spans } else { 0 };
        run.ids.push(id);
        self.acknowledged.insert(id, AcknowledgedSegment { is_refused, annotations });
    }
}

impl Exporter for Xray {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "xray",
            kinds: vec![SignalKind::Traces],
            durable: true,
            max_items: (self.transport.max_documents() * self.transport.max_calls()) as u64,
            keeps_duplicates: true, // X-Ray does not define a second document with one id
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.send_batch(batch))
    }

    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        let (spans, resources) = index(&payload.bytes);
        let resources: Vec<_> = resources.into_iter().map(attributes_of).collect();
        let now = SystemTime::now();
        let placements = self.placer.clone().place_spans(&spans, now);
        let document = |(span, placement): (&Indexed<'_>, &Placement)| {
            let Placement::Sent(place) = placement else { return None };
            let (decoded, resource) = (Span::decode(span.bytes).ok()?, &resources[span.resource]);
            let filter = &self.annotation_filter;
            let document = translate(&decoded, resource, place, filter, MAX_ANNOTATIONS, now);
            Some(to_bounded_json(document).0)
        };
        Ok(spans.iter().zip(&placements).filter_map(document).collect())
    }

    fn reset_connections(&mut self) {
        self.transport.reset_connections();
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![self.transport.healthcheck().await] })
    }
}

/// By error code: the number of refusals, and the first message.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<String, (u64, String)>);

impl Refusals {
    fn add(&mut self, code: String, message: String) {
        self.0.entry(code).or_insert((0, message)).0 += 1;
    }

    fn log(self) {
        for (code, (count, message)) in self.0 {
            warn!("X-Ray refused {count} documents: {code}: {message}");
        }
    }
}

#[derive(Debug)]
struct ExportRun {
    now: SystemTime,
    ready: Vec<Segment>,
    /// The index of each ready document.
    places: HashMap<SegmentId, usize>,
    outcome: ExportOutcome,
    /// Spans whose sampling decision is lost.
    unknown: u64,
    /// Annotations that X-Ray still indexes for each trace.
    annotations_left: HashMap<TraceId, usize>,
    /// Acknowledged documents of this batch; forgotten when the batch is complete.
    ids: Vec<SegmentId>,
}

impl ExportRun {
    fn new(now: SystemTime) -> Self {
        Self {
            now,
            ready: Vec::new(),
            places: HashMap::new(),
            outcome: ExportOutcome::default(),
            unknown: 0,
            annotations_left: HashMap::new(),
            ids: Vec::new(),
        }
    }
}

/// The batch is sent again without the documents that X-Ray has acknowledged.
fn throttled(refusal: &SegmentRefusal) -> ExportError {
    ExportError::Status {
        status: StatusCode::TOO_MANY_REQUESTS,
        message: format!("X-Ray postpones documents: {}: {}", refusal.code, refusal.message),
        retry_after: None,
    }
}

/// Whether X-Ray might accept a part of the documents.
fn is_about_content(error: &ExportError) -> bool {
    let about = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
    matches!(error, ExportError::Status { status, .. } if about.contains(status))
}

fn attributes_of(resource: &[u8]) -> Vec<KeyValue> {
    // The receiver has checked the encoding.
    Resource::decode(resource).unwrap_or_default().attributes
}

#[cfg(test)]
mod tests;
