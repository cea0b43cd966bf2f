//! Settings of the Honeycomb exporter and of the commands `board` and `deployed`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::client::secret;
use crate::client::secret::SecretSource;
use crate::exporter::honeycomb::compression::OtlpCompression;
use crate::invocation::choice::SamplingSettings;
use crate::settings::{Reader, Rejected, Variable, parse_http_url};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("HONEYCOMB_API_KEY", "", "the team's key; switches honeycomb on").secret(),
    Variable::new(
        "HONEYCOMB_API_KEY_SECRET",
        "",
        "where AWS keeps that key: the ARN of a secret, ARN:FIELD, or a parameter",
    ),
    Variable::new(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "",
        "holds the key as x-honeycomb-team if the two above are unset",
    )
    .secret(),
    Variable::new(
        "HONEYCOMB_API_ENDPOINT",
        "https://api.honeycomb.io",
        "base URL of Honeycomb or of another OTLP backend",
    )
    .url(),
    Variable::new(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "",
        "gzip, zstd or none; unset: zstd, or gzip where zstd is refused",
    ),
    Variable::new("HONEYCOMB_DATASET", "", "the dataset of a classic key"),
    Variable::new(
        "CRUDDUR_OTLP_HEADERS",
        "",
        "further headers name=value,… for another OTLP backend",
    )
    .secret(),
    Variable::new(
        "CRUDDUR_HONEYCOMB_SAMPLE_RATE",
        "1",
        "N sends one trace in N to Honeycomb, and all that failed, were slow or began cold; 1 sends all",
    ),
    Variable::new(
        "CRUDDUR_HONEYCOMB_SLOW_MS",
        "2000",
        "with a rate above 1, an invocation or span that runs for more milliseconds is always sent",
    ),
    Variable::new(
        "CRUDDUR_HONEYCOMB_SAMPLE_SALT",
        "",
        "decides which traces are sent; the same text in all functions of a trace, unknown to callers",
    )
    .secret(),
    Variable::new(
        "CRUDDUR_HONEYCOMB_SAMPLE_LOGS",
        "false",
        "true: log records that came by OTLP follow the rate too",
    ),
    Variable::new(
        "HONEYCOMB_CONFIGURATION_KEY",
        "",
        "key of the commands board and deployed; unset: the key above",
    )
    .secret(),
];

/// A larger rate is probably a mistake, and Honeycomb cuts the product with an earlier one at 2³¹.
const MAX_RATE: u64 = 1_000_000;

pub const TEAM: &str = "x-honeycomb-team";

/// By form: 32 hex digits, or 64 characters that begin `hc` + a letter + `ic_`.
/// <https://github.com/honeycombio/husky/blob/main/otlp/common.go>
pub fn is_classic(key: &HeaderValue) -> bool {
    let Ok(key) = key.to_str() else { return false };
    let is_hex = key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let bytes = key.as_bytes();
    let is_ingest = key.starts_with("hc") && bytes.get(2).is_some_and(u8::is_ascii_lowercase);
    (key.len() == 32 && is_hex)
        || (key.len() == 64 && is_ingest && bytes.get(3..6) == Some(&b"ic_"[..]))
}

#[derive(Clone, Debug)]
pub struct HoneycombConfig {
    /// The team's key. `None` for another OTLP backend.
    pub key: Option<SecretSource>,
    /// Sent with a classic key.
    pub dataset: Option<HeaderValue>,
    /// Further headers of every request. `Debug` does not print their values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Base URL without a slash at its end; the signals' paths are appended.
    pub endpoint: String,
    /// `None`: zstd, until the destination refuses it.
    pub compression: Option<OtlpCompression>,
    /// `None` if all spans are sent.
    pub sampling: Option<SamplingSettings>,
}

impl HoneycombConfig {
    /// `named`: whether `CRUDDUR_EXPORTERS` names the exporter, so that it is an error if
    /// both key and `CRUDDUR_OTLP_HEADERS` are missing.
    pub fn read(reader: &mut Reader<'_>, named: bool) -> Option<Self> {
        let key = read_key(reader);
        let endpoint = read_endpoint(reader);
        let headers = read_headers(reader);
        let key = key.ok()?;
        if key.is_none() && headers.is_empty() {
            if named {
                let reason = "names honeycomb, which needs HONEYCOMB_API_KEY";
                reader.reject("CRUDDUR_EXPORTERS", reason);
            }
            return None;
        }
        let dataset = reader.parsed("HONEYCOMB_DATASET", secret::key);
        if let (Some(SecretSource::Inline(key)), None) = (&key, &dataset)
            && is_classic(key)
        {
            let reason = "must be set, since HONEYCOMB_API_KEY is a classic key";
            reader.reject("HONEYCOMB_DATASET", reason);
        }
        let compression = reader.parsed("OTEL_EXPORTER_OTLP_COMPRESSION", OtlpCompression::parse);
        let sampling = read_sampling(reader);
        Some(Self { key, dataset, headers, endpoint: endpoint.ok()?, compression, sampling })
    }

    /// Settings of the commands `board` and `deployed`: they use `HONEYCOMB_CONFIGURATION_KEY`, else the exporter's key.
    pub fn read_management(reader: &mut Reader<'_>) -> Option<Self> {
        let own = reader.parsed("HONEYCOMB_CONFIGURATION_KEY", secret::key);
        let key = own.map(SecretSource::Inline).or_else(|| read_key(reader).ok()?)?;
        let endpoint = read_endpoint(reader).ok()?;
        let (key, headers) = (Some(key), Vec::new());
        Some(Self { key, dataset: None, headers, endpoint, compression: None, sampling: None })
    }
}

/// An invalid rate means 1: all spans are sent, since a wrong rate would lose some.
fn read_sampling(reader: &mut Reader<'_>) -> Option<SamplingSettings> {
    let rate = reader.or_default("CRUDDUR_HONEYCOMB_SAMPLE_RATE", |text| {
        let rate = text.parse().ok().filter(|rate| (1..=MAX_RATE).contains(rate));
        let reason =
            format!("is ignored, so all spans are sent: not a whole number from 1 to {MAX_RATE}");
        rate.ok_or(reason)
    });
    let slow_ms = reader.or_default("CRUDDUR_HONEYCOMB_SLOW_MS", |text| {
        let slow_ms = text.parse::<u32>().ok().filter(|slow_ms| *slow_ms > 0);
        slow_ms.ok_or_else(|| "is ignored, so it is 2000: not a whole number above 0".into())
    });
    let samples_logs = reader.or_default("CRUDDUR_HONEYCOMB_SAMPLE_LOGS", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is ignored, so all log records are sent: neither true nor false".into()),
    });
    let salt = reader.get("CRUDDUR_HONEYCOMB_SAMPLE_SALT").unwrap_or_default();
    let slow = Duration::from_millis(slow_ms.into());
    (rate > 1).then_some(SamplingSettings { rate, slow, salt, samples_logs })
}

/// Rejects a key that cannot be used: the exporter is off rather than sending without a key.
fn read_key(reader: &mut Reader<'_>) -> Result<Option<SecretSource>, Rejected> {
    let source = SecretSource::read(reader, "HONEYCOMB_API_KEY", "HONEYCOMB_API_KEY_SECRET")?;
    if source.is_some() {
        return Ok(source);
    }
    let list = reader.get("OTEL_EXPORTER_OTLP_HEADERS");
    let Some(key) = list.and_then(|list| header_value(&list, TEAM)) else { return Ok(None) };
    match key.and_then(|key| secret::key(&key)) {
        Ok(key) => Ok(Some(SecretSource::Inline(key))),
        Err(reason) => {
            reader.reject("OTEL_EXPORTER_OTLP_HEADERS", reason);
            Err(Rejected)
        }
    }
}

/// An invalid endpoint switches the exporter off: falling back to the default would send telemetry
/// to a place that was not asked for.
fn read_endpoint(reader: &mut Reader<'_>) -> Result<String, Rejected> {
    reader.valid_or_default("HONEYCOMB_API_ENDPOINT", base_url)
}

/// The headers of `CRUDDUR_OTLP_HEADERS`. An invalid entry is skipped and reported.
fn read_headers(reader: &mut Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let list = reader.get("CRUDDUR_OTLP_HEADERS").unwrap_or_default();
    let mut headers = Vec::new();
    for entry in list.split(',').filter(|entry| !entry.trim().is_empty()) {
        match parse_header(entry) {
            Ok(header) => headers.push(header),
            Err(reason) => reader.reject("CRUDDUR_OTLP_HEADERS", reason),
        }
    }
    headers
}

/// The name is not part of an error: it is part of a value that has a comma.
fn parse_header(entry: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        entry.split_once('=').ok_or("has an entry that is ignored: not name=value")?;
    let name = decoded(name).ok().and_then(|name| name.parse().ok());
    let name = name.ok_or("has an entry that is ignored: no header may have its name")?;
    let value = decoded(value).and_then(|value| secret::key(&value));
    Ok((name, value.map_err(|reason| format!("has an entry that is ignored: its value {reason}"))?))
}

/// As in W3C's baggage: <https://www.w3.org/TR/baggage/#value>
fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text.trim()).decode_utf8();
    text.map(String::from).map_err(|_| "is not UTF-8".to_owned())
}

fn base_url(text: &str) -> Result<String, String> {
    match parse_http_url(text, "honeycomb")?.query() {
        None => Ok(text.trim_end_matches('/').to_owned()),
        Some(_) => Err("ends with a query, so honeycomb gets nothing: paths are appended".into()),
    }
}

/// The value of `key` in a list `key=value,key2=value2`, as `OTEL_EXPORTER_OTLP_HEADERS` holds it.
fn header_value(list: &str, key: &str) -> Option<Result<String, String>> {
    list.split(',').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| decoded(value))
    })
}
