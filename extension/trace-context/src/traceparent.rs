//! W3C Trace Context: `traceparent: 00-<trace id>-<parent id>-<flags>`.
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

use std::fmt;

use crate::{MAX_HEADER_BYTES, SpanId, TraceId, id::decode_hex};

/// The caller's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that the caller belongs to.
    pub trace_id: TraceId,
    /// The caller's span: our parent.
    pub parent_id: SpanId,
    /// The sampled bit, the only flag that version 00 defines.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header's value. Upper-case hex is invalid; a version above 00 may carry more parts.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if value.len() > MAX_HEADER_BYTES || value.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut parts = value.split('-');
        let [version] = decode_hex(parts.next()?)?;
        let trace_id = TraceId::from_hex(parts.next()?)?;
        let parent_id = SpanId::from_hex(parts.next()?)?;
        let [flags] = decode_hex(parts.next()?)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        Some(Self { trace_id, parent_id, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_specifications_example_is_read_and_written_unchanged() {
        let parent = TraceParent::parse(VALID).unwrap();

        assert_eq!(parent.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.parent_id.to_string(), "b7ad6b7169203331");
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), VALID);
    }

    #[test]
    fn a_later_version_may_carry_more_parts_but_version_zero_may_not() {
        assert!(TraceParent::parse(&format!("{VALID}-extra")).is_none());
        assert!(TraceParent::parse(&format!("01{}-extra", &VALID[2..])).is_some());
    }

    #[test]
    fn what_is_not_a_traceparent_is_none() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            TraceParent::parse(&text);
        }

        #[test]
        fn every_valid_value_survives_a_round_trip(trace in any::<u128>(), span in any::<u64>(), sampled: bool) {
            prop_assume!(trace != 0 && span != 0);
            let parent = TraceParent {
                trace_id: TraceId::from_bytes(trace.to_be_bytes()).unwrap(),
                parent_id: SpanId::from_bytes(span.to_be_bytes()).unwrap(),
                sampled,
            };

            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }
    }
}
