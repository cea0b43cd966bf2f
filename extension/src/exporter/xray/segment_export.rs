//! Sends a batch to X-Ray as segment documents.
//!
//! A batch fails as a whole only if X-Ray is unreachable or throttles, the call or single documents.
//! Documents that X-Ray accepted before the failure are not sent again with the batch. A document that
//! is refused for good is dropped and counted alone.

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use ::http::StatusCode;
use opentelemetry_proto::tonic::{common::v1::KeyValue, resource::v1::Resource, trace::v1::Span};
use prost::Message;
use trace_context::TraceId;
use tracing::{info, warn};

use crate::delivery::error::{ExportError, ExportOutcome};
use crate::exporter::xray::acknowledged::{AcknowledgedSpan, AcknowledgedSpans};
use crate::exporter::xray::annotations::AnnotationFilter;
use crate::exporter::xray::index::Indexed;
use crate::exporter::xray::limits::MAX_ANNOTATIONS;
use crate::exporter::xray::placement::{PlacedBatch, Placement};
use crate::exporter::xray::segment::{Segment, SegmentId, SegmentRefusal};
use crate::exporter::xray::serialize::to_bounded_json;
use crate::exporter::xray::translate::{SegmentPlace, translate};
use crate::exporter::xray::transport::Transport;

/// Documents of more bytes are sent before further spans are translated: the bodies of their calls are in memory
/// too.
const MAX_READY_BYTES: usize = 2 << 20;

#[derive(Debug)]
pub(super) struct SegmentExport {
    pub(super) annotation_filter: AnnotationFilter,
    has_reported_trimming: bool,
}

impl SegmentExport {
    pub(super) fn new(annotation_filter: AnnotationFilter) -> Self {
        Self { annotation_filter, has_reported_trimming: false }
    }

    pub(super) async fn send(
        &mut self,
        batch: &PlacedBatch<'_>,
        transport: &mut Transport,
        acknowledged: &mut AcknowledgedSpans,
    ) -> Result<ExportOutcome, ExportError> {
        let resources: Vec<_> = batch.resources.iter().map(|it| attributes_of(it)).collect();
        let mut run = ExportRun::new(batch.now, transport, acknowledged);
        // Entry spans first: their annotations matter most, and X-Ray indexes few of a trace.
        let is_entry = |placement: &Placement| matches!(placement, Placement::Sent(place) if place.entry.is_some());
        let pairs = || batch.spans.iter().zip(&batch.placements);
        let entries = pairs().filter(|(_, placement)| is_entry(placement));
        for (span, placement) in
            entries.chain(pairs().filter(|(_, placement)| !is_entry(placement)))
        {
            if let Placement::Sent(place) = placement {
                self.prepare(span, place, &resources, &mut run);
            }
            let most = run.transport.max_documents() * run.transport.max_calls();
            if run.ready.len() == most || run.ready_bytes > MAX_READY_BYTES {
                send_ready(&mut run).await?;
            }
        }
        send_ready(&mut run).await?;
        run.acknowledged.forget(&run.ids);
        Ok(run.outcome)
    }

    /// The documents of a batch with all their annotations.
    pub(super) fn documents(&self, batch: &PlacedBatch<'_>) -> Vec<String> {
        let resources: Vec<_> = batch.resources.iter().map(|it| attributes_of(it)).collect();
        let document = |(span, placement): (&Indexed<'_>, &Placement)| {
            let Placement::Sent(place) = placement else { return None };
            let (decoded, resource) = (Span::decode(span.bytes).ok()?, &resources[span.resource]);
            let filter = &self.annotation_filter;
            let document = translate(&decoded, resource, place, filter, MAX_ANNOTATIONS, batch.now);
            Some(to_bounded_json(document).0)
        };
        batch.spans.iter().zip(&batch.placements).filter_map(document).collect()
    }

    fn prepare(
        &mut self,
        span: &Indexed<'_>,
        place: &SegmentPlace,
        resources: &[Vec<KeyValue>],
        run: &mut ExportRun<'_>,
    ) {
        let id = (place.trace_id, place.id);
        let left = run.annotations_left.entry(place.trace_id).or_insert(MAX_ANNOTATIONS);
        if let Some(known) = run.acknowledged.get(id) {
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
        run.ready_bytes += json.len();
        run.ready.push(Segment { id, json, annotations, spans: 1 });
    }
}

/// Sends the ready documents, several calls at once. A call that is refused as a whole is halved, so
/// that only the invalid document is lost.
async fn send_ready(run: &mut ExportRun<'_>) -> Result<(), ExportError> {
    run.places.clear();
    run.ready_bytes = 0;
    let mut documents = std::mem::take(&mut run.ready);
    let mut parts = Vec::new();
    while !documents.is_empty() {
        let most = run.transport.max_documents().min(documents.len());
        parts.push(documents.drain(..most).collect::<Vec<_>>());
    }
    let mut refusals = Refusals::default();
    let mut result = Ok(());
    while result.is_ok() && !parts.is_empty() {
        let results = run.transport.send(&parts).await;
        for (part, sent) in std::mem::take(&mut parts).into_iter().zip(results) {
            match conclude(part, sent, &mut refusals, run) {
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
    mut part: Vec<Segment>,
    sent: Result<Vec<SegmentRefusal>, ExportError>,
    refusals: &mut Refusals,
    run: &mut ExportRun<'_>,
) -> Result<Vec<Vec<Segment>>, ExportError> {
    match sent {
        Ok(refused) => {
            let temporary = refused.iter().find(|refusal| refusal.is_temporary());
            let postponed = temporary.map(throttled);
            acknowledge_part(part, &refused, run);
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
            acknowledge(&part[0], true, run);
            refusals.add("InvalidRequest".to_owned(), error.to_string());
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Each refusal concerns one document; a refusal without an id counts for any remaining one. A
/// temporarily refused document is not acknowledged, so it is sent again with the batch. If it has no id,
/// none of the remaining ones is acknowledged.
pub(super) fn acknowledge_part(
    mut part: Vec<Segment>,
    refused: &[SegmentRefusal],
    run: &mut ExportRun<'_>,
) {
    let (mut unidentified, mut is_unclear) = (0, false);
    for refusal in refused {
        match part.iter().position(|document| refusal.is_of(document.id.1)) {
            Some(at) if refusal.is_temporary() => drop(part.remove(at)),
            Some(at) => acknowledge(&part.remove(at), true, run),
            None if refusal.is_temporary() => is_unclear = true,
            None => unidentified += 1,
        }
    }
    if is_unclear {
        return;
    }
    for (index, document) in part.iter().enumerate() {
        acknowledge(document, index < unidentified, run);
    }
}

fn acknowledge(document: &Segment, is_refused: bool, run: &mut ExportRun<'_>) {
    let Segment { id, annotations, spans, .. } = *document;
    run.outcome.rejected += if is_refused { spans } else { 0 };
    run.ids.push(id);
    run.acknowledged.insert(id, AcknowledgedSpan { is_refused, annotations });
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
pub(super) struct ExportRun<'a> {
    transport: &'a mut Transport,
    acknowledged: &'a mut AcknowledgedSpans,
    now: SystemTime,
    ready: Vec<Segment>,
    ready_bytes: usize,
    /// The index of each ready document.
    places: HashMap<SegmentId, usize>,
    pub(super) outcome: ExportOutcome,
    /// Annotations that X-Ray still indexes for each trace.
    annotations_left: HashMap<TraceId, usize>,
    /// Acknowledged documents of this batch; forgotten when the batch is complete.
    ids: Vec<SegmentId>,
}

impl<'a> ExportRun<'a> {
    pub(super) fn new(
        now: SystemTime,
        transport: &'a mut Transport,
        acknowledged: &'a mut AcknowledgedSpans,
    ) -> Self {
        Self {
            transport,
            acknowledged,
            now,
            ready: Vec::new(),
            ready_bytes: 0,
            places: HashMap::new(),
            outcome: ExportOutcome::default(),
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
