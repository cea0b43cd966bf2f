//! One attempt of a request: an invocation.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use trace_context::{SpanId, TraceId, XrayHeader};

use crate::invocation::end::{EndEvidence, EvidenceSet};
use crate::invocation::usage::SandboxUsage;

/// Ascends in the order in which the attempts became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(super) u64);

/// Clones share the texts, so a copy costs the same whatever the length of the input.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: AttemptId,
    pub request_id: Arc<str>,
    /// 1 for the first attempt with this request id in this process.
    pub number: u32,
    /// Whether it is the first invocation of this process.
    pub is_first: bool,
    /// The time of `platform.start`, else of INVOKE's arrival, else of the first evidence.
    pub began: SystemTime,
    /// Unix milliseconds; `None` without INVOKE.
    pub deadline_ms: Option<u64>,
    /// The value of `X-Amzn-Trace-Id`.
    pub xray_header: Option<TracingHeader>,
    /// The tenant of the sandbox, by `platform.start`.
    pub tenant_id: Option<Arc<str>>,
    /// The server span, or the root in its place.
    pub server: Option<SpanParent>,
    /// The trace id in the first of its JSON log lines that has one.
    pub line_trace_id: Option<TraceId>,
    /// `success`, `error`, `timeout` or `failure`, once `platform.runtimeDone` has arrived.
    pub status: Option<Arc<str>>,
    /// The time of `platform.runtimeDone`.
    pub done_at: Option<SystemTime>,
    /// When the first likely evidence of its end was recorded.
    pub(super) ended_at: Option<SystemTime>,
    /// How long Next was held after this invocation.
    pub hold: Option<Duration>,
    /// The resources that the sandbox used during this invocation.
    pub usage: Option<Arc<SandboxUsage>>,
    /// Whether the server span or `platform.runtimeDone` reported a failure.
    pub has_failed: bool,
    /// Whether `platform.report` has arrived.
    pub is_reported: bool,
    /// Whether a log line has carried its metrics.
    pub has_metrics_line: bool,
    /// Whether one of its log lines has level ERROR or above.
    pub has_error_line: bool,
    /// Whether its spans, its lines and its end are known, as far as they are awaited.
    pub is_concluded: bool,
    pub(super) has_invoke: bool,
    pub(super) has_start: bool,
    /// The evidence whose payloads are in the pipeline.
    pub(super) evidence: EvidenceSet,
}

/// The attempt to which lines without a request id belong, as it was when they arrived: a later event may
/// change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineOwner {
    pub(super) attempt: Option<AttemptId>,
    /// Lines from before belong to no attempt.
    pub(super) since: Option<SystemTime>,
}

impl LineOwner {
    /// The attempt of a line of this time.
    pub fn at(&self, time: SystemTime) -> Option<AttemptId> {
        self.attempt.filter(|_| self.since.is_none_or(|since| since <= time))
    }
}

impl From<Option<AttemptId>> for LineOwner {
    fn from(attempt: Option<AttemptId>) -> Self {
        Self { attempt, since: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracingHeader {
    pub text: Arc<str>,
    pub parsed: XrayHeader,
}

/// The parent of an invocation's platform spans: its server span, or the root in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanParent {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub is_sampled: bool,
}

impl Attempt {
    /// Distinguishes this attempt from other attempts of the request, in other processes too where INVOKE
    /// arrives: each attempt has its own deadline.
    pub fn key(&self) -> String {
        match (self.deadline_ms, self.number) {
            (Some(deadline_ms), _) => format!("{} {deadline_ms}", self.request_id),
            (None, 1) => self.request_id.to_string(),
            (None, number) => format!("{} #{number}", self.request_id),
        }
    }

    pub fn has_evidence(&self, is_it: impl Fn(EndEvidence) -> bool) -> bool {
        self.evidence.any(is_it)
    }

    pub fn is_done(&self) -> bool {
        self.status.is_some()
    }

    /// Whether INVOKE or `platform.start` has arrived. Without either it began in an earlier process, or is
    /// beginning now.
    pub fn has_begun(&self) -> bool {
        self.has_invoke || self.has_start
    }

    /// Whether it has begun, and no event shows its end.
    pub(super) fn is_open(&self) -> bool {
        let has_end = self.is_done() || self.is_reported || self.is_concluded;
        self.has_begun() && !has_end && !self.has_evidence(EndEvidence::is_likely)
    }

    /// Whether INVOKE or a platform event named it: spans may name any request id.
    pub(super) fn is_confirmed(&self) -> bool {
        self.has_begun() || self.is_done() || self.is_reported
    }
}

impl TracingHeader {
    /// `None` for a header that X-Ray's format does not allow.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { parsed: XrayHeader::parse(text)?, text: text.into() })
    }
}
