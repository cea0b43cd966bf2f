//! A file of the spool, as its name tells of it.

use crate::otlp::payload::SignalKind;

const EXTENSION: &str = "zst";

/// What a file takes on the disk is a multiple of this. Our choice: the block of ext4 and of most
/// other file systems, where they are not told otherwise.
/// <https://docs.kernel.org/filesystems/ext4/blocks.html>
pub(super) const BLOCK: u64 = 4_096;

/// What a file's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFile {
    /// Orders the files; unique.
    pub sequence: u64,
    /// Whose batch it is.
    pub destination: String,
    /// Which request it is.
    pub kind: SignalKind,
    /// Number of items inside.
    pub items: u64,
    /// Whether one of them has an error in it.
    pub has_error: bool,
    pub(super) bytes: u64,
}

impl SpoolFile {
    pub(super) fn name(&self) -> String {
        let Self { sequence, destination, kind, items, has_error, .. } = self;
        let (kind, flags) = (kind.name(), if *has_error { "e" } else { "-" });
        format!("{sequence:020}.{destination}.{kind}.{items}.{flags}.{EXTENSION}")
    }

    pub(super) fn parse(name: &str, bytes: u64) -> Option<Self> {
        let parts: Vec<_> = name.split('.').collect();
        let [sequence, destination, kind, items, flags, EXTENSION] = parts[..] else { return None };
        Some(Self {
            sequence: sequence.parse().ok()?,
            destination: destination.to_owned(),
            kind: SignalKind::ALL.into_iter().find(|known| known.name() == kind)?,
            items: items.parse().ok()?,
            has_error: flags.contains('e'),
            bytes,
        })
    }

    pub(super) fn bytes_on_disk(&self) -> u64 {
        on_disk(self.bytes)
    }
}

/// What so many bytes take there.
pub(super) fn on_disk(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(BLOCK)
}
