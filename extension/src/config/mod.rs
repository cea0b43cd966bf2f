//! What the environment asks for, read once before anything is opened.
//!
//! A typing error must not cost anybody a function: [`Config::from_vars`] never fails. What it
//! cannot read is returned as a [`ConfigError`] to be logged, and the default holds.

mod resource;
pub mod variables;

pub use crate::exporter::{
    honeycomb::config::{HoneycombConfig, TEAM, is_classic},
    rollbar::config::{ClientAddress, RollbarConfig},
};

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderValue, Uri};
use tracing::level_filters::LevelFilter;

use crate::{client::secret, exporter::xray::AnnotationFilter, flush::policy};

/// Where the extension runs, what it listens on, where it sends to, and how much it may hold.
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `AWS_LAMBDA_RUNTIME_API` | `host:port` of Lambda's APIs; anything else means no Lambda | – |
/// | `HONEYCOMB_API_KEY` | team key, or `x-honeycomb-team` in `OTEL_EXPORTER_OTLP_HEADERS` | off |
/// | `HONEYCOMB_API_KEY_SECRET` | where AWS keeps that key: see [`crate::client::secret`] | – |
/// | `HONEYCOMB_API_ENDPOINT` | base URL; `/v1/traces` and the like are appended | `https://api.honeycomb.io` |
/// | `HONEYCOMB_CONFIGURATION_KEY` | for the command `board` | the key above |
/// | `OTEL_SERVICE_NAME`, or `HONEYCOMB_SERVICE_NAME` | `service.name` of the platform's spans | that of the next variable, or the function's name |
/// | `OTEL_RESOURCE_ATTRIBUTES` | further attributes of their resource, `key=value,key=value`; values percent-encoded | – |
/// | `AWS_LAMBDA_FUNCTION_NAME`, `AWS_LAMBDA_FUNCTION_VERSION`, `AWS_REGION` | set by Lambda | – |
/// | `CRUDDUR_EXPORTERS` | comma list of `honeycomb`, `xray`, `cloudwatch`, `rollbar`, `console`: exactly those run | `honeycomb` if it has a key, `cloudwatch` if it has a group, `rollbar` if it has a token, `console` if there is no Lambda; `xray` only when named |
/// | `CRUDDUR_LOG_GROUP` | CloudWatch Logs group for the function's lines; also switches that exporter on | off |
/// | `CRUDDUR_LOG_RETENTION_DAYS` | how long the group keeps lines, if the extension has to make it | 30 |
/// | `ROLLBAR_ACCESS_TOKEN` | a token of scope `post_server_item`; switches the RollbarConfig exporter on | off |
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
/// | `CRUDDUR_XRAY_UNDECIDED` | how much of what Lambda has not decided goes to X-Ray as root segments: 0 to 1 | 0 |
/// | `CRUDDUR_XRAY_ANNOTATIONS` | comma list of attributes that X-Ray is to index; `app.*` is all that begin so | `app.*,enduser.id,http.route,user.id` |
/// | `AWS_XRAY_DAEMON_ADDRESS` | `host:port` of an X-Ray daemon that gets the segments by UDP; Lambda hides it from extensions | X-Ray's API |
/// | `AWS_ENDPOINT_URL_XRAY` or `AWS_ENDPOINT_URL` | where that API is | AWS |
/// | `CRUDDUR_FLUSH` | `end`, `periodic,MS` or `adaptive`: see [`policy::FlushMode`] | `adaptive` |
/// | `CRUDDUR_MAX_HOLD_MS` | longest wait for a flush after an invocation | 1000 |
/// | `CRUDDUR_BUFFER_BYTES` | most bytes held, and largest accepted request | 16 MiB |
/// | `CRUDDUR_SPOOL_DIR` | where undelivered batches are kept on disk | `/tmp/cruddur-spool` |
/// | `CRUDDUR_SPOOL_BYTES` | most bytes kept there; 0 keeps none | 64 MiB |
/// | `CRUDDUR_LOG` | `off`, `error`, `warn`, `info`, `debug` or `trace` | `warn` |
#[derive(Debug)]
pub struct Config {
    /// `host:port` of the Runtime, Extensions and Telemetry APIs.
    ///
    /// `None` where there is no Lambda: the variable is missing, or holds a path as cargo-lambda's
    /// emulator sets it. See [`crate::lifecycle`] for why nobody registers there.
    pub lambda_api: Option<String>,
    /// Set if the HoneycombConfig exporter runs.
    pub honeycomb: Option<HoneycombConfig>,
    /// Set if the X-Ray exporter runs.
    pub xray: Option<XrayConfig>,
    /// Where the command `board` makes its board, if there is a key.
    pub board: Option<HoneycombConfig>,
    /// Set if the CloudWatch Logs exporter runs.
    pub cloudwatch_logs: Option<CloudWatchLogsConfig>,
    /// Set if the RollbarConfig exporter runs.
    pub rollbar: Option<RollbarConfig>,
    /// Whether the console exporter runs.
    pub console: bool,
    /// What the function is called.
    pub function_name: String,
    /// Its version, as Lambda counts.
    pub function_version: Option<String>,
    /// `service.name`, where a sender does not give its own.
    pub service_name: String,
    /// Attributes that describe the function, for spans about it.
    pub resource: Vec<(String, String)>,
    /// Names of secrets, beside the usual ones.
    pub scrub: Vec<String>,
    /// Address of the OTLP receiver.
    pub otlp_listen: SocketAddr,
    /// When what was received is sent.
    pub flush: policy::FlushMode,
    /// Longest wait for a flush between the end of an invocation and Next.
    pub max_hold: Duration,
    /// Most bytes of signals held for all destinations together.
    pub buffer_bytes: usize,
    /// Where undelivered batches are kept on disk.
    pub spool_directory: PathBuf,
    /// Most bytes kept there.
    pub spool_bytes: u64,
    /// The extension's own log level.
    pub log_level: LevelFilter,
}

/// What the X-Ray exporter sends, and how.
#[derive(Clone, Debug)]
pub struct XrayConfig {
    /// How much of what nobody has decided is sent: 0 to 1.
    pub undecided: f64,
    /// Attributes that are annotations.
    pub annotations: AnnotationFilter,
    /// `host:port` of a daemon, if not X-Ray's API is to have the documents.
    pub daemon: Option<String>,
}

/// Where the CloudWatch Logs exporter writes to. Region, credentials and endpoint are the SDK's
/// own variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatchLogsConfig {
    /// The log group.
    pub group: String,
    /// How long it keeps lines, if it has to be made.
    pub retention_days: u16,
    /// The function, for the stream's name.
    pub function: String,
    /// Its version, for the stream's name.
    pub version: String,
}

/// A variable that was ignored, and why. Never shows a secret's value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub struct ConfigError {
    pub(crate) variable: &'static str,
    pub(crate) reason: String,
}

impl ConfigError {
    /// The variable.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// What is said of it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl Config {
    /// Reads every variable through `var`. An empty value counts as unset.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> (Self, Vec<ConfigError>) {
        let mut reader = Reader { var, errors: Vec::new() };
        let lambda_api = reader.get("AWS_LAMBDA_RUNTIME_API").filter(|api| !api.contains('/'));
        let exporters = reader.parsed("CRUDDUR_EXPORTERS", parse_exporters);
        let (service_name, resource) = reader.described();
        let named = |name: &str| Some(exporters.as_ref()?.iter().any(|named| named == name));
        let (key, endpoint) = (reader.honeycomb_key(), reader.honeycomb_endpoint());
        let honeycomb = match named("honeycomb") {
            Some(false) => None,
            named => reader.honeycomb(named.is_some(), key.clone(), endpoint.clone()),
        };
        let config = Self {
            xray: named("xray").filter(|named| *named).and_then(|_| reader.xray()),
            board: reader.board(key, endpoint),
            honeycomb,
            rollbar: match named("rollbar") {
                Some(false) => None,
                named => reader.rollbar(named.is_some()),
            },
            cloudwatch_logs: match named("cloudwatch") {
                Some(false) => None,
                named => reader.cloudwatch_logs(named.is_some()),
            },
            service_name,
            resource,
            function_name: reader
                .get("AWS_LAMBDA_FUNCTION_NAME")
                .unwrap_or_else(|| "function".to_owned()),
            function_version: reader.get("AWS_LAMBDA_FUNCTION_VERSION"),
            scrub: reader.get("CRUDDUR_SCRUB").map(|list| names(&list)).unwrap_or_default(),
            console: named("console").unwrap_or(lambda_api.is_none()),
            otlp_listen: reader
                .parsed("CRUDDUR_OTLP_LISTEN", |text| {
                    text.parse().map_err(|_| "is ignored: not an address:port".into())
                })
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 4318))),
            flush: reader
                .parsed("CRUDDUR_FLUSH", policy::FlushMode::parse)
                .unwrap_or(policy::FlushMode::Adaptive),
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
        };
        (config, reader.errors)
    }
}

/// Something is set, and cannot be used; the reason is among the errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unusable;

pub(crate) struct Reader<F> {
    pub(crate) var: F,
    pub(crate) errors: Vec<ConfigError>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(crate) fn get(&self, variable: &str) -> Option<String> {
        (self.var)(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(crate) fn parsed<T>(
        &mut self,
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(&self.get(variable)?) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.errors.push(ConfigError { variable, reason });
                None
            }
        }
    }

    /// Only when named: without permission to write to X-Ray it would fail for each invocation.
    fn xray(&mut self) -> Option<XrayConfig> {
        let undecided = self.parsed("CRUDDUR_XRAY_UNDECIDED", parse_rate).unwrap_or(0.0);
        let annotations = self.get("CRUDDUR_XRAY_ANNOTATIONS");
        let annotations = annotations
            .map_or_else(AnnotationFilter::default, |list| AnnotationFilter::parse(&list));
        let daemon = match self.get("AWS_XRAY_DAEMON_ADDRESS") {
            None => None,
            Some(_) => Some(self.parsed("AWS_XRAY_DAEMON_ADDRESS", daemon_address)?),
        };
        let has_region =
            ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|it| self.get(it).is_some());
        if daemon.is_none() && !has_region {
            let reason = "names xray, which needs AWS_REGION or AWS_XRAY_DAEMON_ADDRESS".into();
            self.errors.push(ConfigError { variable: "CRUDDUR_EXPORTERS", reason });
            return None;
        }
        Some(XrayConfig { undecided, annotations, daemon })
    }

    /// `named`: as for honeycomb.
    fn cloudwatch_logs(&mut self, named: bool) -> Option<CloudWatchLogsConfig> {
        if named && self.get("CRUDDUR_LOG_GROUP").is_none() {
            let reason = "names cloudwatch, which needs CRUDDUR_LOG_GROUP".into();
            self.errors.push(ConfigError { variable: "CRUDDUR_EXPORTERS", reason });
        }
        let group = self.parsed("CRUDDUR_LOG_GROUP", parse_log_group)?;
        let retention_days = self.parsed("CRUDDUR_LOG_RETENTION_DAYS", parse_retention);
        if self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION")).is_none() {
            let reason = "must be set, or cloudwatch gets nothing".into();
            self.errors.push(ConfigError { variable: "AWS_REGION", reason });
            return None;
        }
        let function = self.get("AWS_LAMBDA_FUNCTION_NAME");
        let version = self.get("AWS_LAMBDA_FUNCTION_VERSION");
        Some(CloudWatchLogsConfig {
            group,
            retention_days: retention_days.unwrap_or(30),
            function: function.unwrap_or_else(|| "function".to_owned()),
            version: version.unwrap_or_else(|| "$LATEST".to_owned()),
        })
    }

    /// A key in a variable, or the place of one in another.
    pub(crate) fn secret(
        &mut self,
        given: &'static str,
        stored: &'static str,
    ) -> Result<Option<secret::SecretSource>, Unusable> {
        if self.get(given).is_some() {
            let key = self.parsed(given, secret).ok_or(Unusable)?;
            return Ok(Some(secret::SecretSource::Inline(key)));
        }
        let Some(text) = self.get(stored) else { return Ok(None) };
        let region = self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION"));
        match secret::RemoteSecret::parse(&text, region, |name| self.get(name)) {
            Ok(stored) => Ok(Some(secret::SecretSource::Remote(stored))),
            Err(reason) => {
                self.errors.push(ConfigError { variable: stored, reason });
                Err(Unusable)
            }
        }
    }
}

/// A header's value that does not print itself, and an error that does not show it.
pub(crate) fn secret(text: &str) -> Result<HeaderValue, String> {
    secret::key(text).map_err(str::to_owned)
}

fn parse_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "is ignored: not a whole number".into())
}

fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("is ignored: not a whole number above 0".into()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.ok_or_else(|| "is ignored: not a number from 0 to 1".into())
}

/// `host:port`, or `tcp:host:port udp:host:port` as X-Ray's own SDKs take it.
fn daemon_address(text: &str) -> Result<String, String> {
    let mut parts = text.split_whitespace().filter(|part| !part.starts_with("tcp:"));
    let address = parts.next_back().unwrap_or_default().trim_start_matches("udp:");
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(address.into()),
        _ => Err("is not host:port, so xray gets nothing".into()),
    }
}

/// A comma list in small letters.
fn names(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// What `CRUDDUR_EXPORTERS` may name.
const EXPORTERS: [&str; 5] = ["honeycomb", "xray", "cloudwatch", "rollbar", "console"];

/// By <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>
fn parse_log_group(name: &str) -> Result<String, String> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || ".-_/#".contains(char);
    match name.chars().all(allowed) && name.len() <= 512 && !name.starts_with("aws/") {
        true => Ok(name.to_owned()),
        false => Err("is no name of a log group, so cloudwatch gets nothing".into()),
    }
}

/// Days that PutRetentionPolicy knows.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const RETENTIONS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

fn parse_retention(days: &str) -> Result<u16, String> {
    let days = days.parse().ok().filter(|days| RETENTIONS.contains(days));
    days.ok_or_else(|| format!("is ignored: CloudWatch Logs knows only {RETENTIONS:?}"))
}

fn parse_exporters(list: &str) -> Result<Vec<String>, String> {
    let names = names(list);
    match names.iter().find(|name| !EXPORTERS.contains(&name.as_str())) {
        Some(unknown) => Err(format!("is ignored: there is no exporter {unknown:?}")),
        None => Ok(names),
    }
}

/// The URL of an exporter that gets nothing without.
pub(crate) fn http_url(text: &str, exporter: &str) -> Result<Uri, String> {
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("is not a URL, so {exporter} gets nothing: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(host)) if !host.as_str().contains('@') => Ok(uri),
        // It would be printed, but not sent.
        (Some("http" | "https"), Some(_)) => {
            Err(format!("has a user in it, so {exporter} gets nothing: a key has its own variable"))
        }
        _ => Err(format!("is not an http or https URL, so {exporter} gets nothing")),
    }
}

/// A URL as it may be shown: what is behind the question mark may be secret.
pub fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(shown, _)| shown)
}

#[cfg(test)]
mod tests;
