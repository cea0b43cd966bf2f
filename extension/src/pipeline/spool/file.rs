//! A spool file, described by its name.

use crate::otlp::payload::SignalKind;

const EXTENSION: &str = "zst";

/// A file takes a multiple of this on disk: the default block size of ext4 and most other file systems.
/// <https://docs.kernel.org/filesystems/ext4/blocks.html>
pub(super) const BLOCK: u64 = 4_096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFile {
    pub sequence: u64,
    pub destination: String,
    pub kind: SignalKind,
    pub items: u64,
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

/// Rounds up to whole blocks.
pub(super) fn on_disk(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(BLOCK)
}
