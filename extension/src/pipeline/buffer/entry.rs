//! A payload of the buffer.

use bytes::Bytes;

use crate::delivery::DestinationId;
use crate::pipeline::spool::{Location, RecordHeader};

/// A waiting payload.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As a record of the spool has it, whether or not it is there.
    pub header: RecordHeader,
    pub location: Option<Location>,
    /// `None` if it is only on disk.
    pub(super) body: Option<Bytes>,
}

impl Entry {
    pub fn is_lacked_by(&self, id: DestinationId) -> bool {
        self.header.destinations & (1 << id) != 0
    }

    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    pub(super) fn memory(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }
}
