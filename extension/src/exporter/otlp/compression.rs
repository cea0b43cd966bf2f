//! The compression of request bodies. Batches of the spool are zstd already, but OTLP requires servers to
//! accept gzip only.

use std::io;

use bytes::Bytes;
use flate2::read::GzEncoder;
use http::StatusCode;

use crate::delivery::batch::{Batch, compress};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpCompression {
    Zstd,
    Gzip,
    None,
}

impl OtlpCompression {
    /// The value of the header `content-encoding`, if the request has one.
    pub(in crate::exporter) fn encoding(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::None => None,
        }
    }

    pub(in crate::exporter) fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "zstd" => Ok(Self::Zstd),
            "gzip" => Ok(Self::Gzip),
            "none" => Ok(Self::None),
            _ => Err("is ignored: not gzip, zstd or none".into()),
        }
    }
}

/// An export request that is not compressed yet, or compressed as in the spool.
#[derive(Debug)]
pub(in crate::exporter) enum ExportBody<'a> {
    Whole(&'a Batch),
    Plain(Vec<u8>),
}

impl ExportBody<'_> {
    pub(in crate::exporter) fn compressed(
        &self,
        compression: OtlpCompression,
    ) -> io::Result<Bytes> {
        match (compression, self) {
            (OtlpCompression::Zstd, Self::Whole(batch)) => batch.to_zstd(),
            (OtlpCompression::Zstd, Self::Plain(plain)) => compress(std::iter::once(plain)),
            (OtlpCompression::Gzip, _) => gzip(&self.plain()?),
            (OtlpCompression::None, _) => self.plain(),
        }
    }

    fn plain(&self) -> io::Result<Bytes> {
        match self {
            Self::Whole(batch) => batch.to_plain(),
            Self::Plain(plain) => Ok(Bytes::copy_from_slice(plain)),
        }
    }
}

/// At the fastest level: a small function has a fraction of a core.
fn gzip(plain: &[u8]) -> io::Result<Bytes> {
    let mut compressed = Vec::new();
    io::copy(&mut GzEncoder::new(plain, flate2::Compression::fast()), &mut compressed)?;
    Ok(compressed.into())
}

/// Whether the reply refuses the encoding of the request, or its media type, rather than its content.
pub(in crate::exporter) fn is_encoding_refused(status: StatusCode, reply: &[u8]) -> bool {
    let reply = String::from_utf8_lossy(reply).to_ascii_lowercase();
    let names_encoding = || {
        ["zstd", "content-encoding", "content encoding", "compress"]
            .iter()
            .any(|it| reply.contains(it))
    };
    match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => true,
        StatusCode::BAD_REQUEST => names_encoding(),
        _ => false,
    }
}
