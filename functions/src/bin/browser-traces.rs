//! `POST /api/telemetry/traces`: spans of the page, for its part of a trace.
use cruddur::{Error, endpoints::browser_traces, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(browser_traces::ROUTE, browser_traces::handle).await
}
