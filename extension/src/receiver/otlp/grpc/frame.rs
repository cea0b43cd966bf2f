//! The frame of a gRPC message: a flag for compression, the length in four bytes, the message.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use bytes::Bytes;

/// Bytes in front of a message.
pub const HEADER_BYTES: usize = 5;

/// The one message of a unary request.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub is_compressed: bool,
    pub message: Bytes,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the request has no message")]
    Missing,
    #[error("the header of the message breaks off after {0} bytes")]
    Header(usize),
    #[error("the flag for compression is {0}")]
    Flag(u8),
    #[error("a message of {announced} bytes breaks off after {received}")]
    Short { announced: usize, received: usize },
    #[error("{0} bytes follow the message, but Export takes one message")]
    More(usize),
    #[error("the message has {0} bytes")]
    TooLarge(usize),
}

/// Reads the body of a unary request, whose message has at most `max_bytes`.
pub fn read(body: Bytes, max_bytes: usize) -> Result<Frame, FrameError> {
    let Some((header, rest)) = body.split_first_chunk::<HEADER_BYTES>() else {
        return Err(match body.len() {
            0 => FrameError::Missing,
            received => FrameError::Header(received),
        });
    };
    let [flag, length @ ..] = *header;
    let announced = u32::from_be_bytes(length) as usize;
    if flag > 1 {
        return Err(FrameError::Flag(flag));
    }
    if announced > max_bytes {
        return Err(FrameError::TooLarge(announced));
    }
    match rest.len().checked_sub(announced) {
        None => Err(FrameError::Short { announced, received: rest.len() }),
        Some(0) => Ok(Frame { is_compressed: flag == 1, message: body.slice(HEADER_BYTES..) }),
        Some(more) => Err(FrameError::More(more)),
    }
}

/// An uncompressed message with its header.
pub(super) fn write(message: &[u8]) -> Bytes {
    // An answer has some hundred bytes.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_back_with_its_flag() {
        let written = write(b"abc");
        let mut compressed = written.to_vec();
        compressed[0] = 1;

        let plain = read(written, 3).unwrap();
        let compressed = read(compressed.into(), 3).unwrap();

        assert_eq!(plain, Frame { is_compressed: false, message: Bytes::from_static(b"abc") });
        assert_eq!(compressed, Frame { is_compressed: true, message: plain.message });
    }

    #[test]
    fn a_bad_frame_is_an_error_that_names_its_fault() {
        let cases: [(&[u8], FrameError); 7] = [
            (b"", FrameError::Missing),
            (b"\0\0\0\0", FrameError::Header(4)),
            (b"\x02\0\0\0\0", FrameError::Flag(2)),
            (b"\0\0\0\0\x03ab", FrameError::Short { announced: 3, received: 2 }),
            (b"\0\0\0\0\x01a\0\0\0\0\x01b", FrameError::More(6)),
            (b"\0\0\0\0\x0a", FrameError::TooLarge(10)),
            (b"\0\xff\xff\xff\xff", FrameError::TooLarge(u32::MAX as usize)),
        ];
        for (body, error) in cases {
            assert_eq!(read(Bytes::from_static(body), 9), Err(error));
        }
    }
}
