//! The first bytes of a connection, by which HTTP/2 differs from HTTP/1.1.
//! <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>

use http::Version;
use tokio::io::{AsyncRead, AsyncReadExt};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads into `start` until the version is certain. `None` if the connection ends before that.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    start: &mut Vec<u8>,
) -> Option<Version> {
    let mut chunk = [0; PREFACE.len()];
    while start.len() < PREFACE.len() {
        let left = PREFACE.len() - start.len();
        match stream.read(&mut chunk[..left]).await {
            Ok(bytes) if bytes > 0 => start.extend_from_slice(&chunk[..bytes]),
            _ => return None,
        }
        if !PREFACE.starts_with(start) {
            return Some(Version::HTTP_11);
        }
    }
    Some(Version::HTTP_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_version_is_known_from_its_first_bytes_however_they_are_split() {
        let rest = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes";
        for (sent, version) in [
            (&rest[..], Some(Version::HTTP_2)),
            (b"POST /v1/traces HTTP/1.1\r\n", Some(Version::HTTP_11)),
            (b"PRI * HTTP/1.1\r\n", Some(Version::HTTP_11)),
            (b"\x16\x03\x01", Some(Version::HTTP_11)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", None),
            (b"", None),
        ] {
            for at_once in [1, 7, sent.len().max(1)] {
                let mut stream = pieces(sent, at_once);
                let mut start = Vec::new();

                assert_eq!(read(&mut stream, &mut start).await, version, "{sent:?} by {at_once}");
                assert!(sent.starts_with(&start));
            }
        }
    }

    /// A stream that gives a few bytes at once.
    fn pieces(bytes: &'static [u8], at_once: usize) -> impl AsyncRead + Unpin {
        let (reader, mut writer) = tokio::io::duplex(at_once);
        tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut writer, bytes).await;
        });
        reader
    }
}
