//! Whether the second backend is reachable and accepts OTLP.

use std::time::{Instant, SystemTime};

use crate::client::http::readable;
use crate::delivery::error::ExportError;
use crate::delivery::healthcheck::Finding;
use crate::exporter::otlp::engine::OtlpEngine;
use crate::exporter::otlp::request::{OtlpApi, shown};
use crate::otlp::payload::SignalKind;

/// Sends an export request without items to each address, compressed as batches are.
pub(super) async fn check(engine: &mut OtlpEngine<OtlpApi>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let targets: Vec<_> =
        engine.backend.config.targets.iter().map(|it| (it.kind, shown(&it.url))).collect();
    for (kind, address) in targets {
        findings.extend(check_address(engine, kind, &address).await);
    }
    findings
}

async fn check_address(
    engine: &mut OtlpEngine<OtlpApi>,
    kind: SignalKind,
    address: &str,
) -> Vec<Finding> {
    let begun = Instant::now();
    let reply = match engine.send_empty(kind).await {
        Ok(reply) => reply,
        Err(error) => return vec![Finding::failed(address, &error)],
    };
    if !reply.status.is_success() {
        let (status, message) = (reply.status, readable(&reply.body));
        let error = ExportError::Status { status, message, retry_after: None };
        return vec![Finding::failed(address, &error)];
    }
    let compression = engine.compression(kind).encoding().unwrap_or("no compression");
    let millis = begun.elapsed().as_millis();
    let accepted = format!("{address} accepts OTLP with {compression}, in {millis} ms");
    let clock = Finding::clock(&reply.headers, SystemTime::now());
    [Finding::fine(accepted)].into_iter().chain(clock).collect()
}
