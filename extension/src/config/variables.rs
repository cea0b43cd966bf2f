//! Every variable that the extension reads. Those of the AWS SDK's endpoints and credentials are not
//! listed.

use crate::client::network;
use crate::config::resource;
use crate::exporter;
use crate::settings::Variable;

const OWN: &[Variable] = &[
    Variable::new("CRUDDUR_OTLP_LISTEN", "127.0.0.1:4318", "address of the OTLP/HTTP receiver"),
    Variable::new(
        "CRUDDUR_OTLP_GRPC_LISTEN",
        "127.0.0.1:4317",
        "address of the OTLP/gRPC receiver; off or empty: none; 127.0.0.1 includes ::1",
    )
    .off_if_empty(),
    Variable::new(
        "CRUDDUR_FLUSH",
        "adaptive",
        "end: before each Next; periodic,MS: in the background; adaptive: before Next while CRUDDUR_HOLD_SHARE allows it",
    ),
    Variable::new(
        "CRUDDUR_MAX_HOLD_MS",
        "1000",
        "longest wait for a flush after an invocation, in milliseconds",
    ),
    Variable::new(
        "CRUDDUR_HOLD_SHARE",
        "0.01",
        "share of the time, above 0 and at most 1, that holds of Next may take with adaptive",
    ),
    Variable::new(
        "CRUDDUR_HOLD_BANK_MS",
        "1000",
        "most unused time for holds that adaptive saves, and that of a new sandbox, in milliseconds",
    ),
    Variable::new(
        "CRUDDUR_BUFFER_BYTES",
        "16777216",
        "most bytes in memory, and of one OTLP request",
    ),
    Variable::new(
        "CRUDDUR_SPOOL_DIR",
        "/tmp/cruddur-spool",
        "directory of undelivered telemetry; one process uses it at a time",
    ),
    Variable::new(
        "CRUDDUR_SPOOL_BYTES",
        "67108864",
        "most bytes on disk, and at most an eighth of the disk; 0 keeps none",
    ),
    Variable::new(
        "CRUDDUR_METRICS",
        "detailed",
        "totals: 21 metrics over all; detailed: also by function, route, status class and destination, each billed",
    ),
    Variable::new("CRUDDUR_METRICS_NAMESPACE", "Cruddur", "CloudWatch namespace of the metrics"),
    Variable::new(
        "CRUDDUR_SCRUB",
        "",
        "comma list of further names whose values are masked as secrets for every destination; off: nothing is masked",
    ),
    Variable::new(
        "CRUDDUR_ENABLED",
        "true",
        "false: on Lambda the extension only waits for the end of the sandbox, and receives nothing",
    ),
    Variable::new(
        "CRUDDUR_LOG",
        "warn",
        "level of the extension's own log: off, error, warn, info or, in debug builds, debug or trace",
    ),
    Variable::new(
        "AWS_LAMBDA_RUNTIME_API",
        "",
        "host:port of Lambda's APIs; unset or with a path: no Lambda",
    ),
    Variable::new(
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "",
        "set by Lambda; snap-start: nothing random or opened before the first INVOKE; lambda-managed-instances: no INVOKE",
    ),
];

/// In the order in which `doctor` prints them.
pub fn all() -> impl Iterator<Item = &'static Variable> {
    let own = OWN.iter().chain(network::VARIABLES);
    exporter::variables().chain(own).chain(resource::VARIABLES)
}
