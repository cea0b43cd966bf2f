//! The fingerprint that groups failures of one kind.

use sha2::{Digest, Sha256};

use crate::processor::failures::item::{ItemContent, ItemData, ItemLevel, ItemTrace};
use crate::text::hex;

/// Equal for failures of one kind at one place. An exception's message and line numbers are left out,
/// since they differ between occurrences and versions; of a plain message, only the numbers are.
pub(super) fn fingerprint(data: &ItemData) -> String {
    let place = |trace: &ItemTrace| {
        let innermost = trace.frames.iter().rev().find(|frame| frame.in_project);
        let method = innermost.and_then(|frame| frame.method.clone()).unwrap_or_default();
        format!("{} {method}", trace.exception.class)
    };
    let level = data.level.map(ItemLevel::name).unwrap_or_default();
    let what = match &data.body.content {
        ItemContent::Trace(trace) => place(trace),
        ItemContent::TraceChain(chain) => chain.iter().map(place).collect::<Vec<_>>().join(" "),
        ItemContent::Message(message) => format!("{level} {}", without_numbers(&message.body)),
    };
    let context = data.context.as_deref().unwrap_or_default();
    hex(&hash(&[&data.environment, context, &what])[..20])
}

/// `user 17 is gone` becomes `user # is gone`.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        let char = if char.is_ascii_digit() { '#' } else { char };
        if char != '#' || !out.ends_with('#') {
            out.push(char);
        }
    }
    out
}

pub(super) fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}
