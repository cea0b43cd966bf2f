//! Cruddur's telemetry extension: it receives OTLP and log lines beside a Lambda function, and sends
//! them to Honeycomb, X-Ray, CloudWatch Logs and Rollbar.
//!
//! ```text
//! receiver ─▶ processor ─▶ pipeline ───────────────▶ exporter
//! bytes in    platform      buffer, spool, ledger     bytes out
//!             spans, lines, circuit breakers
//!             failures          ▲
//!                               │ flush
//!                           lifecycle ◀─▶ lambda
//! ```
//! Two promises order everything. *Telemetry never hurts the function*: the lifecycle waits for a
//! destination only within the bounded hold of Next. *Nothing is lost silently*: [`pipeline::ledger`]
//! counts every received item as held, spooled, delivered, or dropped with a reason.
//!
//! Outside Lambda, `exporter::page` also keeps everything in memory and shows it at the port of OTLP/HTTP.
//! It is there with the cargo feature `page`, which the layer is built without.
//!
//! The list of modules below is the order in which to read. A module imports only from modules above
//! it in the list, and no two files import each other; a test of the workspace proves both.
//!
//! # A span
//! 1. [`receiver::server`] accepts the connection, [`receiver::body`] reads and bounds the body, and
//!    [`receiver::otlp::http`] or [`receiver::otlp::grpc`] answers the request.
//! 2. [`otlp::json`] translates JSON to protobuf, and [`otlp::wire`] checks the message without decoding it.
//!    [`otlp::payload`] keeps its bytes, counts its spans and finds the server span, which proves the end of
//!    an invocation. [`otlp::mask`] masks secrets.
//! 3. [`invocation::registry`] finds the attempt that the server span belongs to, and [`processor`] may
//!    derive platform spans and failures.
//! 4. [`pipeline::PipelineHandle`] hands the payload to the pipeline's task. [`pipeline::ledger`] counts it,
//!    [`pipeline::buffer`] holds it, and only then the receiver answers 200.
//! 5. With sampling, Honeycomb's copy waits until [`invocation`] has decided on its part of the trace.
//! 6. A flush cuts a [`delivery::batch`] for each destination. `pipeline::worker` runs the exporter,
//!    and [`client::freeze`] notices if the sandbox was frozen meanwhile.
//! 7. [`exporter::honeycomb`] sends the bytes without decoding them; [`exporter::xray`] replaces ids in them,
//!    or translates them to documents.
//! 8. [`pipeline::core`] completes the batch: delivered, retried, spooled or dropped.
//!
//! # A log line
//! 1. Lambda posts events to [`receiver::telemetry`]. [`receiver::telemetry_split`] joins records that
//!    Lambda cut, and [`processor`] hands the platform's events to the registry.
//! 2. [`otlp::post_codec`] keeps the POST raw in a payload, and [`pipeline::core::posts`] queues it.
//! 3. After the invocation's end [`receiver::posts`] takes the POST, and [`lambda::telemetry_event`] reads
//!    its events. [`processor::log_lines`] makes one JSON object of each: the function's fields, the
//!    invocation's, metrics, secrets masked by [`scrub`].
//! 4. [`otlp::line_codec`] puts lines into payloads, which take the way of a span.
//! 5. [`exporter::cloudwatch_logs`] cuts them into requests that PutLogEvents accepts.
//!
//! # A failure
//! 1. [`processor::failures`] gathers evidence from failed spans, error lines and platform events,
//!    and attributes it to an invocation.
//! 2. At the end of the invocation it builds one item, truncated to Rollbar's limit.
//! 3. [`otlp::failure_codec`] encodes the item as a payload; [`exporter::rollbar`] posts it.
//!
//! # A flush decision
//! 1. [`lifecycle`] gets INVOKE from [`lambda::extensions_api`]. [`flush::state`] waits for the end of
//!    the invocation, for a bounded time.
//! 2. [`invocation::end`] ends that wait when the server span or `platform.runtimeDone` arrives.
//! 3. [`flush::policy`] decides by the [`flush::credit`] for holds and the usual answer time of the
//!    destinations: defer, send in the background, or wait. SHUTDOWN always drains.
//! 4. [`pipeline`] begins the flush. [`pipeline::circuit_breaker`] decides which destinations are sent
//!    to. The flush ends when each of them has everything or has failed, or the time is over.
//! 5. [`lifecycle`] asks Lambda for the next event.

pub mod text; // colours, hex
pub mod time; // timestamps
pub mod settings; // reads environment variables
pub mod bounded_map;
pub mod scrub; // masks secrets
pub mod backtrace; // reads stacks of several languages
pub mod otlp; // a request's bytes
pub mod lambda; // the Extensions and Telemetry APIs
pub mod delivery; // the contract between pipeline and exporters
pub mod client; // HTTP, AWS, keys, freezes
pub mod invocation; // one record for each attempt of a request
pub mod processor; // platform spans, log lines and failures
pub mod flush; // when to send
pub mod pipeline; // owns everything that waits
pub mod receiver; // bytes in
pub mod exporter; // bytes out
pub mod config; // all settings
pub mod lifecycle; // Lambda's events
pub mod command; // doctor, replay, board, deployed
#[cfg(test)]
mod test_clock;
