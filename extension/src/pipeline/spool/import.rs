//! Files of version 0.1: one zstd batch each, described by its name
//! `<sequence>.<destination>.<kind>.<items>.<flags>.zst`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::otlp::payload::{Payload, SignalKind};

#[derive(Debug)]
pub struct ImportedFile {
    path: PathBuf,
    pub destination: String,
    pub kind: SignalKind,
    pub items: u64,
    has_error: bool,
}

impl ImportedFile {
    pub(super) fn parse(path: &Path) -> Option<Self> {
        let parts: Vec<_> = path.file_name()?.to_str()?.split('.').collect();
        let [_, destination, kind, items, flags, "zst"] = parts[..] else { return None };
        Some(Self {
            path: path.to_owned(),
            destination: destination.to_owned(),
            kind: SignalKind::ALL.into_iter().find(|known| known.name() == kind)?,
            items: items.parse().ok()?,
            has_error: flags.contains('e'),
        })
    }

    /// The payload in the file.
    pub fn read(&self) -> io::Result<Payload> {
        let bytes = Bytes::from(zstd::decode_all(&fs::read(&self.path)?[..])?);
        let Self { kind, items, has_error, .. } = *self;
        Ok(Payload { items, has_error, has_unsampled: true, ..Payload::empty(kind, bytes) })
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
