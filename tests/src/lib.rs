//! Test support for Cruddur: the real programs between a Lambda environment and recording fakes.
//!
//! ```text
//! event ──▶ Sandbox: Runtime, Extensions and Telemetry API ──▶ Reply, Journal, log lines
//!              │ starts, freezes, kills
//!           function ──OTLP──▶ extension ──▶ Honeycomb: requests, spans
//! ```
//! Nothing in the middle is replaced. A test compares the data at the far end, not the sender's own account.
//! A test of a fault also shows that the fault happened.
//!
//! Read the modules in this order:
//!
//! - [`event()`]: what to invoke with, a sample of `events/`, changed as needed;
//! - [`Sandbox`]: a function's execution environment. [`Sandbox::builder`] describes it, `invoke`
//!   returns as soon as the reply is posted, `ended` waits for all the rest, `shutdown` for the
//!   end. [`Journal`] has every API call and every signal with its time;
//! - [`Honeycomb`]: a destination that decodes what arrives, and fails as a test sets it ([`Answer`]);
//! - [`HoneycombApi`]: the part of it that boards are made with;
//! - [`Rollbar`]: another one, which has a project's items;
//! - [`Network`]: what lies between the extension and it, with its own faults;
//! - [`tls_front`] and [`connect_proxy`]: TLS of a private CA before a fake, and a forward proxy;
//! - [`load`]: a function that sends spans whose ids the test knows;
//! - [`otlp`]: spans as tests read them, requests as tests send them;
//! - [`Store`]: a new store, SQLite's or DynamoDB's, and [`moto`], who plays DynamoDB and other
//!   services; [`Proxy`] stands before it where a test needs faults or a record;
//! - [`tls_store`]: a DynamoDB endpoint over TLS and some milliseconds away; [`cpu_quota`]: a
//!   sandbox's share of the CPU;
//! - [`Xray`] and [`XrayDaemon`]: destinations that record segment documents and spans, with `sigv4`;
//! - [`log_group`]: a group of CloudWatch Logs at moto, and what is in it; [`filter_pattern`]: our
//!   model of its filters;
//! - `fake`: the recording HTTP server under it, for destinations to come;
//! - [`Cli`]: the commands of the extension's binary, as a person starts them;
//! - `binaries`: builds what is under test, once per test process;
//! - [`Record`]: the list under all of them that can be waited on.
//!
//! # A test
//!
//! ```no_run
//! use cruddur_tests::{Honeycomb, Sandbox, event};
//!
//! # async fn a_feed_is_one_trace_at_honeycomb() {
//! let honeycomb = Honeycomb::start().await;
//! let sandbox =
//!     Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store().start().await;
//!
//! let reply = sandbox.invoke(event("home-activities")).await;
//!
//! assert_eq!(reply.status, 200);
//! let server = honeycomb.server_span(&reply.request_id).await;
//! assert_eq!(Some(server.trace_id), reply.root_trace_id());
//! # }
//! ```
//! It goes into a module of `tests/tests/`, all of which are one binary. Every question that ends in
//! `.await` waits for its answer, so that no test sleeps; a limit that a test would have to wait for
//! is set on the builder. A failing test prints the journal and both logs.
//!
//! Between invocations processes are frozen (SIGSTOP), as in Lambda: a test that talks to the
//! extension directly switches that off ([`Builder::freezing`]).
//!
//! # What differs from Lambda
//!
//! The Telemetry API delivers over HTTP only; memory figures are constants; credentials are made
//! up; streamed replies reach the caller in one piece; a snapshot is a pause of one environment, without
//! copies; managed instances have no time limit for an invocation; there is no provisioned concurrency, and
//! no limit on memory.

pub mod architecture;
mod binaries;
mod capacity;
pub mod cli;
pub mod connect_proxy;
pub mod cpu_quota;
pub mod event;
pub mod filter_pattern;
mod fake;
pub mod grpc_client;
pub mod honeycomb;
mod honeycomb_api;
pub mod http_client;
pub mod load;
pub mod log_group;
mod loopback;
pub mod moto;
pub mod network;
pub mod otlp;
pub mod proxy;
pub mod rollbar;
mod record;
pub mod sandbox;
mod sigv4;
pub mod store;
pub mod tls_front;
pub mod tls_store;
pub mod usage;
pub mod xray;

pub use binaries::{Binaries, binaries, function_of, functions, remove_package_variables};
pub use capacity::Units;
pub use cli::{Cli, Printed};
pub use event::{Event, event, raw_event};
pub use fake::{Answer, Recorded};
pub use honeycomb::Honeycomb;
pub use honeycomb_api::HoneycombApi;
pub use load::{Burst, Load};
pub use network::{Fault, Freeze, Network};
pub use proxy::Proxy;
pub use record::{PATIENCE, Record};
pub use rollbar::Rollbar;
pub use sandbox::{
    Builder, EXTENSION, Ended, Exit, FailureKind, InvokeError, Journal, Party, Phase, Program,
    Reply, Sandbox, What,
};
pub use store::{Store, eventually};
pub use xray::{Xray, XrayDaemon};
