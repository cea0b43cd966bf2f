//! The settings of all modules, read once before anything is opened.
//!
//! [`Config::from_vars`] never fails, so that a typing error does not stop the function. An invalid
//! value becomes a [`ConfigError`] to be logged, and the default applies.

mod resource;
pub mod variables;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tracing::level_filters::LevelFilter;

use crate::delivery::Exporter;
use crate::exporter;
use crate::exporter::ExporterSettings;
use crate::exporter::honeycomb::config::HoneycombConfig;
use crate::flush::policy::FlushMode;
use crate::invocation::registry::Registry;
use crate::pipeline::PipelineSettings;
use crate::processor::failures::FailureSettings;
use crate::processor::log_lines::LineSettings;
pub use crate::settings::ConfigError;
use crate::settings::{Reader, parse_names, parse_number, parse_size};

/// Where the extension runs, what it listens on, where it sends to, and how much it may hold.
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `AWS_LAMBDA_RUNTIME_API` | `host:port` of Lambda's APIs; unset or with a path means no Lambda | – |
/// | `HONEYCOMB_API_KEY` | team key, or `x-honeycomb-team` in `OTEL_EXPORTER_OTLP_HEADERS` | off |
/// | `HONEYCOMB_API_KEY_SECRET` | where AWS keeps that key: see [`crate::client::secret`] | – |
/// | `HONEYCOMB_API_ENDPOINT` | base URL; `/v1/traces` and the like are appended | `https://api.honeycomb.io` |
/// | `HONEYCOMB_CONFIGURATION_KEY` | for the command `board` | the key above |
/// | `OTEL_SERVICE_NAME`, or `HONEYCOMB_SERVICE_NAME` | `service.name` of the platform's spans, and of payloads without one | that of the next variable, the function's name, or `unknown_service` |
/// | `OTEL_RESOURCE_ATTRIBUTES` | further attributes of their resource, `key=value,key=value`; values percent-encoded | – |
/// | `AWS_LAMBDA_FUNCTION_NAME`, `AWS_LAMBDA_FUNCTION_VERSION`, `AWS_REGION` | set by Lambda | – |
/// | `CRUDDUR_EXPORTERS` | comma list of `honeycomb`, `xray`, `cloudwatch`, `rollbar`, `console`: exactly those run | `honeycomb` if it has a key, `cloudwatch` if it has a group, `rollbar` if it has a token, `console` if there is no Lambda; `xray` only when named |
/// | `CRUDDUR_LOG_GROUP` | CloudWatch Logs group for the function's lines; also switches that exporter on | off |
/// | `CRUDDUR_LOG_RETENTION_DAYS` | how long the group keeps lines, if the extension has to make it | 30 |
/// | `ROLLBAR_ACCESS_TOKEN` | a token of scope `post_server_item`; switches the Rollbar exporter on | off |
/// | `ROLLBAR_ACCESS_TOKEN_SECRET` | where AWS keeps that token: see [`crate::client::secret`] | – |
/// | `ROLLBAR_ENVIRONMENT` | the items' environment | `production` |
/// | `ROLLBAR_ENDPOINT` | whole URL to which items are posted | `https://api.rollbar.com/api/1/item/` |
/// | `ROLLBAR_LEVEL` | the least grave level of a failure that is sent: `debug`, `info`, `warning`, `error` or `critical`; messages are always sent | `error` |
/// | `ROLLBAR_CAPTURE_IP` | the client's address: `true` sends it, `anonymize` without its last part, `false` not | `true` |
/// | `CRUDDUR_TRACE_URL` | where a trace is shown, `{trace_id}` in the place of its id: a link in each item | – |
/// | `CRUDDUR_SCRUB` | comma list of further names whose values are masked: see [`crate::scrub`] | – |
/// | `CRUDDUR_OTLP_LISTEN` | address of the OTLP receiver | `127.0.0.1:4318` |
/// | `HONEYCOMB_DATASET` | dataset, for classic keys only | – |
/// | `CRUDDUR_OTLP_HEADERS` | further headers `name=value,…`, for another OTLP backend at that endpoint | – |
/// | `CRUDDUR_XRAY_UNDECIDED` | the share of undecided invocations that X-Ray gets as root segments: 0 to 1 | 0 |
/// | `CRUDDUR_XRAY_ANNOTATIONS` | comma list of attributes that X-Ray is to index; `app.*` is all that begin so | `app.*,enduser.id,http.route,user.id` |
/// | `AWS_XRAY_DAEMON_ADDRESS` | `host:port` of an X-Ray daemon that gets the segments by UDP; Lambda hides it from extensions | X-Ray's API |
/// | `AWS_ENDPOINT_URL_XRAY` or `AWS_ENDPOINT_URL` | where that API is | AWS |
/// | `CRUDDUR_FLUSH` | `end`, `periodic,MS` or `adaptive`: see [`FlushMode`] | `adaptive` |
/// | `CRUDDUR_MAX_HOLD_MS` | longest wait for a flush after an invocation | 1000 |
/// | `CRUDDUR_BUFFER_BYTES` | most bytes held, and largest accepted OTLP request | 16 MiB |
/// | `CRUDDUR_SPOOL_DIR` | where undelivered batches are kept on disk | `/tmp/cruddur-spool` |
/// | `CRUDDUR_SPOOL_BYTES` | most bytes kept there; 0 keeps none | 64 MiB |
/// | `CRUDDUR_LOG` | `off`, `error`, `warn`, `info`, `debug` or `trace` | `warn` |
#[derive(Debug)]
pub struct Config {
    /// `host:port` of the Runtime, Extensions and Telemetry APIs.
    ///
    /// `None` where there is no Lambda: the variable is missing, or holds a path as cargo-lambda's
    /// emulator sets it. [`crate::lifecycle`] explains why the extension does not register there.
    pub lambda_api: Option<String>,
    pub exporters: ExporterSettings,
    /// Where the command `board` makes its board, if there is a key.
    pub board: Option<HoneycombConfig>,
    pub function_name: String,
    pub function_version: Option<String>,
    /// The `service.name` of payloads that have none.
    pub service_name: String,
    /// Resource attributes of the spans that the extension makes about the function.
    pub resource: Vec<(String, String)>,
    /// Names of secrets in addition to the built-in list.
    pub scrub: Vec<String>,
    pub otlp_listen: SocketAddr,
    pub flush: FlushMode,
    /// The longest wait for a flush between the end of an invocation and Next.
    pub max_hold: Duration,
    /// The most bytes of payloads held for all destinations together.
    pub buffer_bytes: usize,
    /// Where undelivered batches are kept on disk.
    pub spool_directory: PathBuf,
    /// The most bytes kept there; 0 keeps none.
    pub spool_bytes: u64,
    pub log_level: LevelFilter,
}

impl Config {
    /// Reads every variable through `var`. An empty value counts as unset.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> (Self, Vec<ConfigError>) {
        let mut reader = Reader::new(&var);
        let config = Self::read(&mut reader);
        (config, reader.into_errors())
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let lambda_api = reader.get("AWS_LAMBDA_RUNTIME_API").filter(|api| !api.contains('/'));
        let (service_name, resource) = resource::read(reader);
        Self {
            exporters: ExporterSettings::read(reader, lambda_api.is_some()),
            board: HoneycombConfig::read_board(reader),
            service_name,
            resource,
            function_name: reader.function_name(),
            function_version: reader.get("AWS_LAMBDA_FUNCTION_VERSION"),
            scrub: reader.get("CRUDDUR_SCRUB").map(|list| parse_names(&list)).unwrap_or_default(),
            otlp_listen: reader
                .parsed("CRUDDUR_OTLP_LISTEN", |text| {
                    text.parse().map_err(|_| "is ignored: not an address:port".into())
                })
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 4318))),
            flush: reader.parsed("CRUDDUR_FLUSH", FlushMode::parse).unwrap_or(FlushMode::Adaptive),
            max_hold: reader
                .parsed("CRUDDUR_MAX_HOLD_MS", parse_number)
                .map_or(Duration::from_secs(1), Duration::from_millis),
            buffer_bytes: reader.parsed("CRUDDUR_BUFFER_BYTES", parse_size).unwrap_or(16 << 20),
            spool_directory: reader
                .get("CRUDDUR_SPOOL_DIR")
                .map_or_else(|| PathBuf::from("/tmp/cruddur-spool"), PathBuf::from),
            spool_bytes: reader.parsed("CRUDDUR_SPOOL_BYTES", parse_number).unwrap_or(64 << 20),
            log_level: reader
                .parsed("CRUDDUR_LOG", |text| {
                    text.parse().map_err(|_| {
                        "is ignored: not off, error, warn, info, debug or trace".into()
                    })
                })
                .unwrap_or(LevelFilter::WARN),
            lambda_api,
        }
    }

    /// The exporters that are configured. `registry` are the X-Ray headers of the invocations.
    pub fn exporters(&self, registry: Option<&Registry>) -> Vec<Box<dyn Exporter>> {
        exporter::configured(&self.exporters, registry)
    }

    pub fn pipeline_settings(&self) -> PipelineSettings {
        PipelineSettings {
            function_name: self.function_name.clone(),
            max_hold: self.max_hold,
            buffer_bytes: self.buffer_bytes,
            spool_directory: self.spool_directory.clone(),
            spool_bytes: self.spool_bytes,
        }
    }
}

impl Config {
    pub fn line_settings(&self) -> LineSettings {
        LineSettings {
            function_name: self.function_name.clone(),
            function_version: self.function_version.clone(),
            scrub: self.scrub.clone(),
        }
    }

    /// `None` if the Rollbar exporter is off.
    pub fn failure_settings(&self) -> Option<FailureSettings> {
        let rollbar = self.exporters.rollbar.as_ref()?;
        let region = self.resource.iter().find(|(key, _)| key == "cloud.region");
        Some(FailureSettings {
            function_name: self.function_name.clone(),
            function_version: self.function_version.clone(),
            region: region.map(|(_, region)| region.clone()),
            scrub: self.scrub.clone(),
            items: rollbar.items.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
