//! Reading a trace header never panics. A header that was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trace_context::{TraceParent, XrayHeader};

fuzz_target!(|header: &str| {
    if let Some(read) = XrayHeader::parse(header) {
        assert_eq!(XrayHeader::parse(&read.to_string()), Some(read));
    }
    let _ = XrayHeader::lineage(header);
    let _ = TraceParent::parse(header);
});
