//! Whatever the body of a unary request says, it is refused, or its one message is the rest of the body.
//! The first byte chooses the limit.
#![no_main]

use bytes::Bytes;
use cruddur_telemetry::{
    otlp::payload::{Payload, SignalKind},
    receiver::{
        body::gunzip,
        otlp::grpc::frame::{self, FrameError, HEADER_BYTES},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((limit, body)) = input.split_first() else { return };
    let limit = usize::from(*limit) * 64;
    let frame = match frame::read(Bytes::copy_from_slice(body), limit) {
        Ok(frame) => frame,
        Err(FrameError::Short { announced, received }) => {
            assert!(received < announced && announced <= limit);
            assert_eq!(received + HEADER_BYTES, body.len());
            return;
        }
        Err(_) => return,
    };
    let length = u32::try_from(frame.message.len()).unwrap();
    let header = [&[u8::from(frame.is_compressed)], &length.to_be_bytes()[..]].concat();
    assert_eq!([&header[..], &frame.message[..]].concat(), body);
    assert!(frame.message.len() <= limit);
    let message = match frame.is_compressed {
        true => gunzip(&frame.message, limit),
        false => Ok(frame.message),
    };
    if let Ok(message) = message {
        assert!(message.len() <= limit);
        let _ = Payload::read(SignalKind::Traces, message);
    }
});
