//! The engines behind [`Table`](super::Table), and how their calls are traced and tried again.

mod call_span;
mod retry;

pub mod dynamodb;
#[cfg(feature = "local")]
pub mod sqlite;
