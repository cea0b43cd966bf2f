//! Whatever JSON says, its translation is refused or is a request. The first byte chooses which.
#![no_main]

use cruddur_telemetry::{
    receiver::otlp::http::to_protobuf,
    otlp::payload::{SignalKind, Payload},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, json)) = input.split_first() else { return };
    let kind = SignalKind::OTLP[usize::from(kind % 3)];
    if let Ok(protobuf) = to_protobuf(kind, json) {
        // JSON may be nested more deeply than protobuf: then it is refused.
        if let Ok((signal, _)) = Payload::read(kind, protobuf) {
            let items = signal.items;
            assert_eq!(signal.fit("service").iter().map(|part| part.items).sum::<u64>(), items);
        }
    }
});
