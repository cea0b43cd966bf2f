//! Settings of the Honeycomb exporter and of the commands `board` and `deployed`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::client::secret;
use crate::client::secret::SecretSource;
use crate::exporter::otlp::compression::OtlpCompression;
use crate::exporter::otlp::config::{
    COMPRESSION, STANDARD_HEADERS, has_headers_of_another_backend, read_shared_headers,
};
use crate::exporter::otlp::headers::{TEAM, header_value};
use crate::invocation::choice::SamplingSettings;
use crate::settings::{Reader, Rejected, Variable, parse_base_url, parse_text};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("HONEYCOMB_API_KEY", "", "the team's key; switches honeycomb on").secret(),
    Variable::new(
        "HONEYCOMB_API_KEY_SECRET",
        "",
        "where AWS keeps that key: the ARN of a secret, ARN:FIELD, or a parameter",
    ),
    Variable::new(
        STANDARD_HEADERS,
        "",
        "holds the key as x-honeycomb-team if the two above are unset; headers of OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    .secret(),
    Variable::new(
        "HONEYCOMB_API_ENDPOINT",
        "https://api.honeycomb.io",
        "base URL of Honeycomb or of another OTLP backend",
    )
    .url(),
    Variable::new(
        COMPRESSION,
        "",
        "for honeycomb and otlp: gzip, zstd or none; unset: zstd, or gzip where zstd is refused",
    ),
    Variable::new("HONEYCOMB_DATASET", "", "the dataset of a classic key"),
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
        let headers = read_shared_headers(reader);
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
        let compression = reader.parsed(COMPRESSION, OtlpCompression::parse);
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
    let endpoint = reader.or_default("HONEYCOMB_API_ENDPOINT", parse_text);
    if has_headers_of_another_backend(reader, &endpoint) {
        return Ok(None);
    }
    let list = reader.get(STANDARD_HEADERS);
    let Some(key) = list.and_then(|list| header_value(&list, TEAM)) else { return Ok(None) };
    match key.and_then(|key| secret::key(&key)) {
        Ok(key) => Ok(Some(SecretSource::Inline(key))),
        Err(reason) => {
            reader.reject(STANDARD_HEADERS, reason);
            Err(Rejected)
        }
    }
}

/// An invalid endpoint switches the exporter off: falling back to the default would send telemetry
/// to a place that was not asked for.
fn read_endpoint(reader: &mut Reader<'_>) -> Result<String, Rejected> {
    reader.valid_or_default("HONEYCOMB_API_ENDPOINT", |text| parse_base_url(text, "honeycomb"))
}
