//! The fingerprint that groups failures of one kind.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::text::hex;

/// Equal for failures of one kind at one place. An exception's message and line numbers are left out,
/// since they differ between occurrences and versions; of a plain message, only the numbers are.
pub(super) fn fingerprint(data: &Value) -> String {
    let body = &data["body"];
    let what = match (&body["trace_chain"], &body["message"]["body"]) {
        (Value::Array(chain), _) => chain.iter().map(place).collect::<Vec<_>>().join(" "),
        (_, Value::String(message)) => {
            format!("{} {}", text(&data["level"]), without_numbers(message))
        }
        _ => place(&body["trace"]),
    };
    hex(&hash(&[text(&data["environment"]), text(&data["context"]), &what])[..20])
}

/// The exception's type and the innermost method of the program.
fn place(trace: &Value) -> String {
    let mut frames = trace["frames"].as_array().into_iter().flatten().rev();
    let innermost = frames.find(|frame| frame["in_project"] == true);
    let method = innermost.map_or("", |frame| text(&frame["method"]));
    format!("{} {method}", text(&trace["exception"]["class"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
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
