//! X-Ray's header: `X-Amzn-Trace-Id: Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=<0|1|?>`.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>

use std::fmt;

use crate::{MAX_HEADER_BYTES, SpanId, TraceId};

/// What Lambda says about an invocation's trace. Parts come in any order; unknown ones are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XrayHeader {
    /// The trace.
    pub root: TraceId,
    /// The segment that ours hangs under. API Gateway alone sends none.
    pub parent: Option<SpanId>,
    /// Lambda's decision; `None` where there is none yet (absent or `?`).
    pub sampled: Option<bool>,
}

impl XrayHeader {
    /// Reads the header's value; `None` without a valid `Root`. An invalid `Parent` counts as absent.
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > MAX_HEADER_BYTES {
            return None;
        }
        Some(Self {
            root: part(value, "Root").and_then(TraceId::from_xray)?,
            parent: part(value, "Parent").and_then(SpanId::from_hex),
            sampled: match part(value, "Sampled") {
                Some("1") => Some(true),
                Some("0") => Some(false),
                _ => None,
            },
        })
    }

    /// The `Lineage` part of a header, to be passed on as it is: AWS finds loops with it. `None` if
    /// there is none that a header may hold.
    pub fn lineage(value: &str) -> Option<&str> {
        if value.len() > MAX_HEADER_BYTES {
            return None;
        }
        let visible = |lineage: &&str| lineage.bytes().all(|byte| byte.is_ascii_graphic());
        part(value, "Lineage").filter(|lineage| !lineage.is_empty()).filter(visible)
    }
}

/// The header's value, without a part for what is not known and without `Lineage`.
impl fmt::Display for XrayHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root={}", self.root.to_xray())?;
        if let Some(parent) = self.parent {
            write!(f, ";Parent={parent}")?;
        }
        match self.sampled {
            Some(sampled) => write!(f, ";Sampled={}", u8::from(sampled)),
            None => Ok(()),
        }
    }
}

/// The first part of this name; names in any case.
fn part<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    value.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_parts_are_read_in_any_order_and_unknown_ones_are_skipped() {
        let header = XrayHeader::parse(
            "Lineage=a87bd80c:1|68fd508a:5; Sampled=1;Parent=53995c3f42cd8ad8;\
             Self=1-5759e988-000000000000000000000001;Root=1-5759e988-bd862e3fe1be46a994272793",
        )
        .unwrap();

        assert_eq!(header.root.to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(header.parent.unwrap().to_string(), "53995c3f42cd8ad8");
        assert_eq!(header.sampled, Some(true));
    }

    #[test]
    fn a_root_alone_leaves_parent_and_decision_open() {
        let header = XrayHeader::parse("Root=1-5759e988-bd862e3fe1be46a994272793").unwrap();

        assert_eq!((header.parent, header.sampled), (None, None));
    }

    #[test]
    fn a_question_mark_is_no_decision_and_a_broken_parent_is_none() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f;Sampled=?";

        let header = XrayHeader::parse(header).unwrap();

        assert_eq!((header.parent, header.sampled), (None, None));
    }

    #[test]
    fn lineage_is_taken_as_it_is_or_not_at_all() {
        let with = |lineage: &str| format!("Root=1-5759e988-bd862e3fe1be46a994272793;{lineage}");

        let read = with("Lineage=a87bd80c:1|68fd508a:5|c512fbe3:2");
        assert_eq!(XrayHeader::lineage(&read), Some("a87bd80c:1|68fd508a:5|c512fbe3:2"));
        for none in ["", "Lineage=", "Lineage=a\r\nb", "Lineage=é", &"Lineage=a".repeat(200)] {
            assert_eq!(XrayHeader::lineage(&with(none)), None, "{none:?}");
        }
    }

    #[test]
    fn without_a_valid_root_there_is_no_trace() {
        for bad in [
            "",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=5759e988bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=1-575-9e988bd862e3fe1be46a994272793",
            "Root=1-00000000-000000000000000000000000",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
        ] {
            assert_eq!(XrayHeader::parse(bad), None, "{bad}");
        }
        let oversized = format!("Root=1-5759e988-bd862e3fe1be46a994272793;x={}", "y".repeat(1024));
        assert_eq!(XrayHeader::parse(&oversized), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(Root=1-|[0-9a-fé;= -]){0,60}") {
            XrayHeader::parse(&text);
            XrayHeader::lineage(&text);
        }

        #[test]
        fn every_value_survives_a_round_trip(
            root in 1..u128::MAX,
            parent in 0..u64::MAX,
            sampled: Option<bool>,
        ) {
            let root = TraceId::from_bytes(root.to_be_bytes()).unwrap();
            let header = XrayHeader { root, parent: SpanId::from_bytes(parent.to_be_bytes()), sampled };

            let text = header.to_string();

            prop_assert_eq!(XrayHeader::parse(&text), Some(header));
            prop_assert_eq!(XrayHeader::parse(&text.to_uppercase()), Some(header));
            let mut parts: Vec<&str> = text.split(';').collect();
            parts.reverse();
            prop_assert_eq!(XrayHeader::parse(&parts.join(" ; ")), Some(header));
        }
    }
}
