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

impl EndEvidence {
    /// Whether all spans of the invocation have arrived.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::LastSpan | Self::RuntimeDone)
    }

    /// Whether the handler has returned.
    pub fn is_likely(self) -> bool {
        self.is_certain() || self == Self::ServerSpan
    }
}
