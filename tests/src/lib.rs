//! Test support for Cruddur: real programs between a Lambda environment and recording fakes.
mod binaries;
pub mod event;
mod fake;
pub mod honeycomb;
pub mod http_client;
mod loopback;
pub mod otlp;
mod record;
pub mod sandbox;

pub use binaries::{Binaries, binaries};
pub use event::{Event, event, raw_event};
pub use fake::{Answer, Recorded};
pub use honeycomb::Honeycomb;
pub use record::{PATIENCE, Record};
pub use sandbox::{
    Builder, EXTENSION, Ended, Exit, FailureKind, InvokeError, Journal, Party, Phase, Program,
    Reply, Sandbox, What,
};
