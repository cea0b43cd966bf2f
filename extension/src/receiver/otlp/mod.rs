//! The OTLP receiver.

mod refusal;
mod encoding;
mod reply;
mod dropped;
pub mod intake;
pub mod http;
pub mod grpc;
