//! Log lines: JSON on stdout, and OTLP records where nothing hands stdout to the extension.

mod json_lines;
mod otlp_records;

pub(super) use json_lines::JsonLines;
pub(super) use otlp_records::{Records, WrittenLines};
