//! What travels through the pipeline: one accepted OTLP request, kept as the bytes that came.

use bytes::Bytes;

/// An `ExportTraceServiceRequest` in protobuf, validated by the receiver.
///
/// Protobuf messages of one type concatenate into one message, so a batch of signals is their
/// bytes in a row and nothing is encoded twice.
#[derive(Clone, Debug)]
pub struct Signal {
    /// The encoded message.
    pub bytes: Bytes,
    /// Number of spans inside, the unit of all accounting.
    pub spans: u64,
}
