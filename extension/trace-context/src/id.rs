//! Trace and span ids: fixed bytes, never all zero, written as lower-case hex.

use std::fmt;

/// A trace id of 16 bytes, not all zero; `Display` gives 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span id (X-Ray: segment id) of 8 bytes, not all zero; `Display` gives 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// `None` if all bytes are zero, which both W3C and X-Ray call invalid.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Reads 32 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(decode_hex(text)?)
    }

    /// Reads X-Ray's form `1-<8 hex>-<24 hex>`; the first 8 digits are Unix seconds.
    pub fn from_xray(text: &str) -> Option<Self> {
        let (seconds, random) = text.strip_prefix("1-")?.split_once('-')?;
        if seconds.len() != 8 {
            return None;
        }
        Self::from_hex(&format!("{seconds}{random}"))
    }

    /// Writes X-Ray's form, which every 16 bytes have.
    pub fn to_xray(self) -> String {
        let hex = self.to_string();
        format!("1-{}-{}", &hex[..8], &hex[8..])
    }

    /// The bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// `None` if all bytes are zero, which both W3C and X-Ray call invalid.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Reads 16 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(decode_hex(text)?)
    }

    /// The bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// At most 16 bytes.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut digits = [0; 32];
    let pairs = digits.chunks_exact_mut(2).zip(bytes);
    for (pair, byte) in pairs {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
    f.write_str(str::from_utf8(&digits[..2 * bytes.len()]).unwrap_or_default())
}

/// `None` unless `text` is exactly `2 * N` hex digits.
pub(crate) fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
    }
    Some(bytes)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_trace_id_is_the_same_in_both_forms(bytes: [u8; 16]) {
            prop_assume!(bytes != [0; 16]);
            let id = TraceId::from_bytes(bytes).unwrap();

            prop_assert_eq!(TraceId::from_hex(&id.to_string()), Some(id));
            prop_assert_eq!(TraceId::from_hex(&id.to_string().to_uppercase()), Some(id));
            prop_assert_eq!(TraceId::from_xray(&id.to_xray()), Some(id));
            prop_assert_eq!(id.to_xray().len(), 35);
            prop_assert_eq!(id.to_bytes(), bytes);
        }

        #[test]
        fn a_span_id_survives_a_round_trip(bytes: [u8; 8]) {
            prop_assume!(bytes != [0; 8]);
            let id = SpanId::from_bytes(bytes).unwrap();

            prop_assert_eq!(SpanId::from_hex(&id.to_string()), Some(id));
            prop_assert_eq!(id.to_bytes(), bytes);
        }

        #[test]
        fn what_is_read_as_an_id_is_32_or_16_hex_digits(text in "[0-9a-fA-F+é-]{0,40}") {
            let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let zero = text.bytes().all(|byte| byte == b'0');

            prop_assert_eq!(TraceId::from_hex(&text).is_some(), hex && !zero && text.len() == 32);
            prop_assert_eq!(SpanId::from_hex(&text).is_some(), hex && !zero && text.len() == 16);
        }
    }
}
