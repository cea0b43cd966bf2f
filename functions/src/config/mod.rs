//! Every variable that a function reads, read once.

use std::net::IpAddr;
use std::path::PathBuf;

use forward_proxy::ProxyRules;
use http::Uri;
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::domain::Handle;

/// The extension's default address.
const DEFAULT_OTLP_ENDPOINT: &str = "http://127.0.0.1:4318";

/// Where the local store is: below `target/`, so that the emulator does not take a write to it for
/// a change of the sources.
#[cfg(feature = "local")]
const DEFAULT_SQLITE_PATH: &str = "target/cruddur/cruddur.db";

/// The only user that the original's page knows.
#[cfg(feature = "local")]
const DEFAULT_LOCAL_HANDLE: &str = "andrewbrown";

/// Where the original's page is served while it is worked on.
#[cfg(feature = "local")]
const DEFAULT_PAGE_ORIGIN: &str = "http://localhost:3000";

/// | variable | meaning | default |
/// |---|---|---|
/// | `OTEL_SERVICE_NAME`, or `HONEYCOMB_SERVICE_NAME` | `service.name` of spans, `service` of log lines | that of the next variable, or the function's name |
/// | `OTEL_RESOURCE_ATTRIBUTES` | further attributes of the resource, `key=value,key=value`; values percent-encoded | – |
/// | `CRUDDUR_REVISION` | `service.version` of spans and lines | the program's version |
/// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | which traces get the sampled flag, whatever flag a caller sends; all are recorded, so that no error is missed | `parentbased_always_on`, 1 |
/// | `OTEL_SDK_DISABLED` | `true`: nothing is sent, neither spans nor lines | `false` |
/// | `OTEL_LOGS_EXPORTER` | `otlp`: log lines are sent to the extension as well, after the reply. `none`: they are on standard output alone, which is enough wherever the platform hands that to the extension; with both, all lines would be there twice | `none`; `otlp` under an emulator, which hands over nothing |
/// | `OTEL_EXPORTER_OTLP_ENDPOINT` | base URL of the extension, loopback only | `http://127.0.0.1:4318` |
/// | `AWS_LAMBDA_LOG_LEVEL` | `TRACE` to `FATAL`; set by Lambda's advanced logging | – |
/// | `RUST_LOG` | a level, or directives such as `cruddur=debug,hyper=info`, if the above is not set | `info` |
/// | `CRUDDUR_TABLE` | the DynamoDB table; its region, credentials and endpoint are the SDK's own variables (`AWS_ENDPOINT_URL_DYNAMODB`…) | the local store, if the build has it |
/// | `CRUDDUR_CA_BUNDLE`, or `AWS_CA_BUNDLE` | a file of PEM certificates that the table's client accepts beside the system's (`SSL_CERT_FILE` replaces the system's) | – |
/// | `HTTPS_PROXY`, or `https_proxy` | the proxy that the table's client goes by, `http://host:port` or `http://user:password@host:port`; with an invalid one the table is not reached | – |
/// | `NO_PROXY`, or `no_proxy` | hosts, suffixes, addresses and networks that are reached directly, with commas between | – |
/// | `CRUDDUR_SQLITE` | file of the local store (feature `local`) | `target/cruddur/cruddur.db` |
/// | `CRUDDUR_LOCAL_HANDLE` | the user of requests without a token (feature `local`, under an emulator) | `andrewbrown` |
/// | `CRUDDUR_WRITE_QUOTA` | writes of a user in ten minutes, such as `60,600`: activities and replies; likes and messages. 0 sets no limit | `0` |
/// | `FRONTEND_URL` | origins of the pages with commas between: their spans are accepted; under an emulator one origin, which may call the API (deployed, the gateway decides) | none; `http://localhost:3000` under an emulator |
/// | `AWS_LAMBDA_MAX_CONCURRENCY` | how many requests run at once; set by Lambda on managed instances | 1 |
/// | `AWS_LAMBDA_FUNCTION_NAME`, `AWS_LAMBDA_FUNCTION_VERSION`, `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, `AWS_LAMBDA_LOG_GROUP_NAME`, `AWS_LAMBDA_LOG_STREAM_NAME`, `AWS_REGION` | set by Lambda | – |
pub struct Config {
    /// How this service is called in Honeycomb and in the logs.
    pub service_name: String,
    /// The function's name.
    pub function_name: Option<String>,
    /// The function's version: `$LATEST` or a number.
    pub function_version: Option<String>,
    /// The revision of the code: a commit or a version.
    pub revision: String,
    /// Where it runs.
    pub region: Option<String>,
    /// Its memory.
    pub memory_bytes: Option<i64>,
    /// Whether several requests run at once.
    pub is_concurrent: bool,
    /// Where its log lines are.
    pub log_group: Option<String>,
    /// The part of the group that belongs to this sandbox alone.
    pub log_stream: Option<String>,
    /// Attributes of all spans, by the user's choice.
    pub resource_attributes: Vec<(String, String)>,
    /// Which traces are flagged as sampled.
    pub sampler: Sampler,
    /// Whether there are spans at all.
    pub traces: bool,
    /// Where spans go: the full URL of the traces signal.
    pub traces_url: Uri,
    /// Which log lines are written.
    pub log_filter: Targets,
    /// Where they are sent as well, if anywhere: the full URL of the logs signal.
    pub logs_url: Option<Uri>,
    /// The DynamoDB table, if that is the store.
    pub table_name: Option<String>,
    /// Certificates that the table's client accepts beside the system's.
    pub ca_bundle: Option<PathBuf>,
    /// The proxy of the table's client, and its exceptions.
    pub proxy: Option<ProxyRules>,
    /// The file of the local store.
    #[cfg(feature = "local")]
    pub sqlite_path: PathBuf,
    /// Most activities and replies of a user in ten minutes, if there is a limit.
    pub text_quota: Option<u32>,
    /// Most likes and messages of a user in ten minutes, if there is a limit.
    pub other_quota: Option<u32>,
    /// Origins of the pages, as browsers send them. Spans with another origin are refused.
    pub page_origins: Vec<String>,
    /// What holds under an emulator only; `None` on Lambda and in every deployed build.
    pub local: Option<Local>,
    /// What was wrong with the variables, to be logged once there is a log. A wrong value never
    /// stops a function: its default is used.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the variables through `var`. Never fails. An empty variable counts as not set.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();
        let function_name = var("AWS_LAMBDA_FUNCTION_NAME");
        let resource_attributes = resource_attributes(&var, &mut warnings);
        let named = resource_attributes.iter().find(|(key, _)| key == "service.name");
        let service_name = var("OTEL_SERVICE_NAME")
            .or_else(|| var("HONEYCOMB_SERVICE_NAME"))
            .or_else(|| named.map(|(_, value)| value.clone()))
            .or_else(|| function_name.clone());
        let local = local(&var, &mut warnings);
        let (text_quota, other_quota) = write_quota(&var, &mut warnings);
        let traces = !var("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let endpoint = otlp_endpoint(var("OTEL_EXPORTER_OTLP_ENDPOINT"), &mut warnings);
        let sends_lines = traces && sends_lines(&var, &mut warnings);
        let proxy = ProxyRules::from_vars(var);
        warnings.extend(proxy.as_ref().and_then(|it| it.error()).map(ToString::to_string));
        let memory_mb = var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|mb| mb.parse().ok());
        Self {
            service_name: service_name.unwrap_or_else(|| "unknown_service".to_owned()),
            function_name,
            function_version: var("AWS_LAMBDA_FUNCTION_VERSION"),
            revision: var("CRUDDUR_REVISION")
                .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            region: var("AWS_REGION"),
            memory_bytes: memory_mb.map(|mb: u32| i64::from(mb) << 20),
            is_concurrent: var("AWS_LAMBDA_MAX_CONCURRENCY")
                .is_some_and(|most| most.parse().is_ok_and(|most: u32| most > 1)),
            log_group: var("AWS_LAMBDA_LOG_GROUP_NAME"),
            log_stream: var("AWS_LAMBDA_LOG_STREAM_NAME"),
            resource_attributes,
            sampler: sampler(&var, &mut warnings),
            traces,
            traces_url: signal_url(&endpoint, "traces"),
            log_filter: log_filter(&var, &mut warnings),
            logs_url: sends_lines.then(|| signal_url(&endpoint, "logs")),
            table_name: var("CRUDDUR_TABLE"),
            ca_bundle: var("CRUDDUR_CA_BUNDLE").or_else(|| var("AWS_CA_BUNDLE")).map(PathBuf::from),
            proxy,
            text_quota,
            other_quota,
            #[cfg(feature = "local")]
            sqlite_path: var("CRUDDUR_SQLITE").unwrap_or(DEFAULT_SQLITE_PATH.to_owned()).into(),
            page_origins: page_origins(&var, local.as_ref()),
            local,
            warnings,
        }
    }
}

fn page_origins(var: &impl Fn(&str) -> Option<String>, local: Option<&Local>) -> Vec<String> {
    if let Some(local) = local {
        return vec![local.page_origin.clone()];
    }
    let list = var("FRONTEND_URL").unwrap_or_default();
    let origins = list.split(',').map(|origin| origin.trim().trim_end_matches('/').to_owned());
    origins.filter(|origin| !origin.is_empty()).collect()
}

/// What stands in for the gateway, which an emulator lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// The user of all requests without a token.
    pub handle: Handle,
    /// The origin of the page, as browsers send it.
    pub page_origin: String,
}

/// Its Runtime API is a URL with a path (`http://127.0.0.1:9000/.rt/home-activities`), Lambda's never
/// is.
fn is_emulator(var: &impl Fn(&str) -> Option<String>) -> bool {
    let runtime_api = var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let address = runtime_api.trim_start_matches("http://");
    address.split_once('/').is_some_and(|(_, path)| !path.is_empty())
}

/// A build can be wrong, so the feature alone is not enough: it takes an emulator too.
#[cfg(feature = "local")]
fn local(var: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Option<Local> {
    if !is_emulator(var) {
        return None;
    }
    let handle = var("CRUDDUR_LOCAL_HANDLE").unwrap_or_else(|| DEFAULT_LOCAL_HANDLE.to_owned());
    let page_origin = var("FRONTEND_URL").unwrap_or_else(|| DEFAULT_PAGE_ORIGIN.to_owned());
    match Handle::parse(&handle) {
        Ok(handle) => {
            Some(Local { handle, page_origin: page_origin.trim_end_matches('/').to_owned() })
        }
        Err(error) => {
            warnings.push(format!("CRUDDUR_LOCAL_HANDLE={handle:?} is not a handle: {error}"));
            None
        }
    }
}

#[cfg(not(feature = "local"))]
fn local(_: &impl Fn(&str) -> Option<String>, _: &mut [String]) -> Option<Local> {
    None
}

/// By
/// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>:
/// one malformed pair discards them all.
fn resource_attributes(
    var: &impl Fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) -> Vec<(String, String)> {
    let Some(text) = var("OTEL_RESOURCE_ATTRIBUTES") else { return Vec::new() };
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().map(String::from).ok();
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((decoded(key).filter(|key| !key.is_empty())?, decoded(value)?))
    });
    pairs.collect::<Option<_>>().unwrap_or_else(|| {
        warnings.push(format!("OTEL_RESOURCE_ATTRIBUTES={text:?} is not a list of key=value"));
        Vec::new()
    })
}

/// By <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
fn sampler(var: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Sampler {
    let ratio = match var("OTEL_TRACES_SAMPLER_ARG") {
        None => 1.0,
        Some(text) => text.parse().ok().filter(|r| (0.0..=1.0).contains(r)).unwrap_or_else(|| {
            warnings.push(format!("OTEL_TRACES_SAMPLER_ARG={text:?} is not a number from 0 to 1"));
            1.0
        }),
    };
    let name = var("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
    let own = match name.trim_start_matches("parentbased_") {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio),
        _ => {
            warnings.push(format!("OTEL_TRACES_SAMPLER={name:?} is unknown"));
            return Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        }
    };
    match name.starts_with("parentbased_") {
        true => Sampler::ParentBased(Box::new(own)),
        false => own,
    }
}

/// The quota of activities and replies, and that of likes and messages.
fn write_quota(
    var: &impl Fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) -> (Option<u32>, Option<u32>) {
    let Some(text) = var("CRUDDUR_WRITE_QUOTA") else { return (None, None) };
    let numbers: Option<Vec<u32>> =
        text.split(',').map(|number| number.trim().parse().ok()).collect();
    let limit = |number: u32| (number > 0).then_some(number);
    match numbers.as_deref() {
        Some([0]) => (None, None),
        Some([texts, others]) => (limit(*texts), limit(*others)),
        _ => {
            warnings.push(format!("CRUDDUR_WRITE_QUOTA={text:?} is not 0 or two numbers: 60,600"));
            (None, None)
        }
    }
}

/// Lambda gives the extension what a function writes, emulators do not.
fn sends_lines(var: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> bool {
    let default = is_emulator(var);
    match var("OTEL_LOGS_EXPORTER").as_deref() {
        None => default,
        Some("otlp") => true,
        Some("none" | "console") => false, // lines are on standard output in any case
        Some(other) => {
            warnings.push(format!("OTEL_LOGS_EXPORTER={other:?} is unknown"));
            default
        }
    }
}

/// Spans and lines hold what users do, so they go to this machine only; the extension sends them
/// on.
fn otlp_endpoint(endpoint: Option<String>, warnings: &mut Vec<String>) -> String {
    let default = || DEFAULT_OTLP_ENDPOINT.to_owned();
    let Some(endpoint) = endpoint else { return default() };
    let endpoint = endpoint.trim_end_matches('/');
    match format!("{endpoint}/v1/traces").parse::<Uri>() {
        Ok(url) if url.scheme_str() == Some("http") && is_loopback(&url) => endpoint.to_owned(),
        _ => {
            warnings.push(format!(
                "OTEL_EXPORTER_OTLP_ENDPOINT is not an http:// address of this machine; \
                 spans go to {DEFAULT_OTLP_ENDPOINT}, where the extension sends them on"
            ));
            default()
        }
    }
}

/// `endpoint` is one that [`otlp_endpoint`] has checked.
fn signal_url(endpoint: &str, signal: &str) -> Uri {
    format!("{endpoint}/v1/{signal}").parse().unwrap_or_default()
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn log_filter(var: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Targets {
    if let Some(level) = var("AWS_LAMBDA_LOG_LEVEL") {
        match parse_level(&level) {
            Some(level) => return at_level(level),
            None => warnings.push(format!("AWS_LAMBDA_LOG_LEVEL={level:?} is not a level")),
        }
    }
    let Some(directives) = var("RUST_LOG") else { return at_level(LevelFilter::INFO) };
    // `tracing` reads an unknown single word as the name of a crate and silences all others.
    let parsed = parse_level(&directives)
        .map(at_level)
        .or_else(|| directives.contains('=').then(|| directives.parse().ok()).flatten());
    parsed.unwrap_or_else(|| {
        warnings.push(format!("RUST_LOG={directives:?} is neither a level nor directives"));
        at_level(LevelFilter::INFO)
    })
}

fn parse_level(text: &str) -> Option<LevelFilter> {
    match text.eq_ignore_ascii_case("fatal") {
        true => Some(LevelFilter::ERROR), // Lambda's own name, which Rust does not have
        false => text.parse().ok(),
    }
}

/// The level is for our own lines; libraries speak up from warnings on.
fn at_level(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("cruddur", level)
        // Warns at every start under the emulator, of a variable that only the emulator sets.
        .with_target("lambda_runtime", level.min(LevelFilter::ERROR))
        .with_default(level.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests;
