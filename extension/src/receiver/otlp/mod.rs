//! The OTLP receiver.

mod refusal;
mod encoding;
mod reply;
pub mod http;
