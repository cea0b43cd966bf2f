//! Settings of the second OTLP backend.
//!
//! `CRUDDUR_OTLP_ENDPOINT` names it, or the variables of OpenTelemetry's specification. A function's SDK reads
//! those too, and usually finds the extension there: the extension's own address names no backend.
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Uri};

use crate::client::secret::SecretSource;
use crate::exporter::otlp::compression::OtlpCompression;
use crate::exporter::otlp::headers::{TEAM, read_headers};
use crate::otlp::payload::SignalKind;
use crate::settings::{
    Reader, Variable, parse_address, parse_address_or_off, parse_base_url, parse_http_url,
    parse_names,
};

const ENDPOINT: &str = "CRUDDUR_OTLP_ENDPOINT";
const HEADERS: &str = "CRUDDUR_OTLP_HEADERS";
pub const HEADERS_SECRET: &str = "CRUDDUR_OTLP_HEADERS_SECRET";
const STANDARD_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
pub const STANDARD_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const STANDARD_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
pub const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        ENDPOINT,
        "",
        "base URL of an OTLP backend beside Honeycomb; switches otlp on; paths are appended",
    )
    .url(),
    Variable::new(
        HEADERS,
        "",
        "headers name=value,… of the URL above or, if that is unset, of HONEYCOMB_API_ENDPOINT; values percent-encoded",
    )
    .secret(),
    Variable::new(
        HEADERS_SECRET,
        "",
        "where AWS keeps the headers of CRUDDUR_OTLP_ENDPOINT, as HONEYCOMB_API_KEY_SECRET",
    ),
    Variable::new(
        STANDARD_ENDPOINT,
        "",
        "in place of CRUDDUR_OTLP_ENDPOINT; no effect with the extension's own address, which a function's SDK needs",
    )
    .url(),
    Variable::new(TRACES.endpoint, "", "the whole URL for spans in place of that one").url(),
    Variable::new(LOGS.endpoint, "", "the same for log records").url(),
    Variable::new(METRICS.endpoint, "", "the same for metrics").url(),
    Variable::new(TRACES.headers, "", "headers for spans in place of OTEL_EXPORTER_OTLP_HEADERS")
        .secret(),
    Variable::new(LOGS.headers, "", "the same for log records").secret(),
    Variable::new(METRICS.headers, "", "the same for metrics").secret(),
    Variable::new(
        TRACES.compression,
        "",
        "compression for spans to otlp in place of OTEL_EXPORTER_OTLP_COMPRESSION",
    ),
    Variable::new(LOGS.compression, "", "the same for log records"),
    Variable::new(METRICS.compression, "", "the same for metrics"),
    Variable::new(
        STANDARD_PROTOCOL,
        "",
        "with another value than http/protobuf, OTEL_EXPORTER_OTLP_ENDPOINT names no backend for otlp",
    ),
    Variable::new(TRACES.protocol, "", "the same for the URL for spans"),
    Variable::new(LOGS.protocol, "", "the same for log records"),
    Variable::new(METRICS.protocol, "", "the same for metrics"),
];

/// The variables of one signal.
struct SignalVariables {
    kind: SignalKind,
    endpoint: &'static str,
    headers: &'static str,
    compression: &'static str,
    protocol: &'static str,
}

const TRACES: SignalVariables = SignalVariables {
    kind: SignalKind::Traces,
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    compression: "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
};
const LOGS: SignalVariables = SignalVariables {
    kind: SignalKind::Logs,
    endpoint: "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    headers: "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    compression: "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
    protocol: "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
};
const METRICS: SignalVariables = SignalVariables {
    kind: SignalKind::Metrics,
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    headers: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    compression: "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
};
const SIGNALS: [SignalVariables; 3] = [TRACES, LOGS, METRICS];

/// The signals that the backend gets; at least one.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    pub targets: Vec<SignalTarget>,
    /// A list of further headers for all signals.
    pub secret: Option<SecretSource>,
}

#[derive(Clone, Debug)]
pub struct SignalTarget {
    pub kind: SignalKind,
    /// The whole URL. Its query may hold a secret.
    pub url: Uri,
    /// `Debug` does not print their values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `None`: zstd, until the backend refuses it.
    pub compression: Option<OtlpCompression>,
}

/// The URL of a signal, and the variable that holds it.
type Endpoint = (&'static SignalVariables, &'static str, Uri);

impl OtlpConfig {
    /// `named`: whether `CRUDDUR_EXPORTERS` names the exporter, so that a missing endpoint is an error.
    pub fn read(reader: &mut Reader<'_>, named: bool) -> Option<Self> {
        let is_own = reader.get(ENDPOINT).is_some();
        let endpoints = match is_own {
            true => own_endpoints(reader)?,
            false => standard_endpoints(reader)?,
        };
        if endpoints.is_empty() {
            if named {
                let reason = "names otlp, which needs CRUDDUR_OTLP_ENDPOINT";
                reader.reject("CRUDDUR_EXPORTERS", reason);
            }
            return None;
        }
        let secret = match is_own && reader.get(HEADERS).is_none() {
            true => SecretSource::read(reader, HEADERS, HEADERS_SECRET).ok()?,
            false => None,
        };
        let mut targets = Vec::new();
        for (signal, variable, url) in endpoints {
            if !is_own && !has_known_protocol(reader, signal) {
                return None;
            }
            let target = read_target(reader, signal, url, is_own);
            if is_duplicate(reader, &target, variable, is_own) {
                return None;
            }
            targets.push(target);
        }
        Some(Self { targets, secret })
    }
}

/// Whether the headers of the standard variable are for another host than this one.
pub fn has_headers_of_another_backend(reader: &mut Reader<'_>, honeycomb: &str) -> bool {
    let Ok(honeycomb) = honeycomb.parse::<Uri>() else { return false };
    let listeners = Listeners::read(reader);
    let url = [STANDARD_ENDPOINT, TRACES.endpoint].into_iter().find_map(|name| reader.get(name));
    let url = url.and_then(|url| url.parse::<Uri>().ok());
    url.is_some_and(|url| !listeners.include(&url) && url.host() != honeycomb.host())
}

/// The headers for `HONEYCOMB_API_ENDPOINT`: those of another backend stay away from it.
pub fn read_shared_headers(reader: &mut Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    if reader.get(ENDPOINT).is_some() { Vec::new() } else { read_headers(reader, HEADERS) }
}

/// `None` after a reported problem.
fn own_endpoints(reader: &mut Reader<'_>) -> Option<Vec<Endpoint>> {
    let base = reader.parsed(ENDPOINT, |text| parse_base_url(text, "otlp"))?;
    if is_own_address(reader, &base) {
        reader.reject(ENDPOINT, "is the extension's own address, so otlp gets nothing");
        return None;
    }
    let standard = reader.get(STANDARD_ENDPOINT);
    if standard.is_some_and(|it| it.trim_end_matches('/') != base && !is_own_address(reader, &it)) {
        let reason = "and OTEL_EXPORTER_OTLP_ENDPOINT name different backends, so otlp gets nothing: unset one";
        reader.reject(ENDPOINT, reason);
        return None;
    }
    let endpoint = |signal: &'static SignalVariables| {
        Some((signal, ENDPOINT, signal_url(&base, signal.kind)?))
    };
    Some(SIGNALS.iter().filter_map(endpoint).collect())
}

/// Empty without an endpoint but the extension's own; `None` after a reported problem.
fn standard_endpoints(reader: &mut Reader<'_>) -> Option<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    for signal in &SIGNALS {
        let variable = match reader.get(signal.endpoint) {
            Some(_) => signal.endpoint,
            None => STANDARD_ENDPOINT,
        };
        let Some(text) = reader.get(variable) else { continue };
        if is_own_address(reader, &text) {
            continue;
        }
        let url = match variable {
            STANDARD_ENDPOINT => {
                let base = reader.parsed(variable, |text| parse_base_url(text, "otlp"))?;
                signal_url(&base, signal.kind)?
            }
            _ => reader.parsed(variable, |text| parse_http_url(text, "otlp"))?,
        };
        endpoints.push((signal, variable, url));
    }
    Some(endpoints)
}

fn signal_url(base: &str, kind: SignalKind) -> Option<Uri> {
    format!("{base}/v1/{}", kind.name()).parse().ok()
}

/// Reports another protocol.
fn has_known_protocol(reader: &mut Reader<'_>, signal: &SignalVariables) -> bool {
    let names = [signal.protocol, STANDARD_PROTOCOL];
    let Some(name) = names.into_iter().find(|name| reader.get(name).is_some()) else { return true };
    let is_known = reader.get(name).is_some_and(|protocol| protocol == "http/protobuf");
    if !is_known {
        reader.reject(name, "is not http/protobuf, the only protocol of otlp, so it gets nothing");
    }
    is_known
}

fn read_target(
    reader: &mut Reader<'_>,
    signal: &SignalVariables,
    url: Uri,
    is_own: bool,
) -> SignalTarget {
    let headers = match is_own {
        true => HEADERS,
        false if reader.get(signal.headers).is_some() => signal.headers,
        false => STANDARD_HEADERS,
    };
    let compression = match reader.get(signal.compression) {
        Some(_) if !is_own => signal.compression,
        _ => COMPRESSION,
    };
    SignalTarget {
        kind: signal.kind,
        url,
        headers: read_headers(reader, headers),
        compression: reader.parsed(compression, OtlpCompression::parse),
    }
}

/// Whether Honeycomb's exporter sends the same to the same place. Another key is of another environment.
fn is_duplicate(
    reader: &mut Reader<'_>,
    target: &SignalTarget,
    variable: &'static str,
    is_own: bool,
) -> bool {
    let endpoint = reader.or_default("HONEYCOMB_API_ENDPOINT", |text| Ok(text.to_owned()));
    let host = endpoint.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
    let team = target.headers.iter().find(|(name, _)| name.as_str() == TEAM);
    let list = reader.get("CRUDDUR_EXPORTERS");
    let is_listed = list.is_none_or(|list| parse_names(&list).iter().any(|it| it == "honeycomb"));
    let Some((_, team)) = team.filter(|_| host.as_ref() == target.url.authority() && is_listed)
    else {
        return false;
    };
    let is_same = match reader.get("HONEYCOMB_API_KEY") {
        Some(key) => team == key.as_bytes(),
        None if reader.get("HONEYCOMB_API_KEY_SECRET").is_some() => true,
        // Honeycomb's exporter takes its key from the standard variable.
        None => return !is_own,
    };
    if is_same {
        let reason =
            "is Honeycomb, which gets everything by HONEYCOMB_API_KEY, so otlp gets nothing";
        reader.reject(variable, reason);
    }
    is_same
}

fn is_own_address(reader: &mut Reader<'_>, url: &str) -> bool {
    let listeners = Listeners::read(reader);
    url.parse().is_ok_and(|url| listeners.include(&url))
}

/// The addresses of the OTLP receivers.
struct Listeners(Vec<SocketAddr>);

impl Listeners {
    fn read(reader: &mut Reader<'_>) -> Self {
        let http = reader.or_default("CRUDDUR_OTLP_LISTEN", parse_address);
        let grpc = reader.or_default("CRUDDUR_OTLP_GRPC_LISTEN", parse_address_or_off);
        Self([http].into_iter().chain(grpc).collect())
    }

    /// Whether a URL, also one without a scheme, leads to one of them.
    fn include(&self, url: &Uri) -> bool {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port =
            url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
        let ip = host.parse::<std::net::IpAddr>().ok();
        let is_loopback = ["localhost", "sandbox.localdomain"].contains(&host)
            || ip.is_some_and(|ip| ip.is_loopback());
        self.0.iter().any(|it| it.port() == port && (ip == Some(it.ip()) || is_loopback))
    }
}
