//! The OTLP receiver.

mod refusal;
mod encoding;
mod reply;
pub mod intake;
pub mod http;
pub mod grpc;
