//! The evidence that an invocation is over.

/// Its payloads are in the pipeline when the evidence is recorded, so a flush after it sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndEvidence {
    /// A server span; other spans may follow.
    ServerSpan,
    /// The last span of our SDK, which sends its spans after the reply.
    LastSpan,
    /// `platform.runtimeDone`, and so all lines.
    RuntimeDone,
    /// `platform.report`.
    Report,
}

/// The evidence that was recorded for an attempt. A copy allocates nothing: each log line gets one of its
/// attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EvidenceSet([bool; EndEvidence::ALL.len()]);

impl EvidenceSet {
    pub(super) fn contains(&self, evidence: EndEvidence) -> bool {
        self.0[evidence as usize]
    }

    pub(super) fn insert(&mut self, evidence: EndEvidence) {
        self.0[evidence as usize] = true;
    }

    pub(super) fn any(&self, is_it: impl Fn(EndEvidence) -> bool) -> bool {
        EndEvidence::ALL.into_iter().any(|evidence| self.contains(evidence) && is_it(evidence))
    }
}

impl EndEvidence {
    const ALL: [Self; 4] = [Self::ServerSpan, Self::LastSpan, Self::RuntimeDone, Self::Report];

    /// Whether all spans of the invocation have arrived.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::LastSpan | Self::RuntimeDone)
    }

    /// Whether the handler has returned.
    pub fn is_likely(self) -> bool {
        self.is_certain() || self == Self::ServerSpan
    }
}
