//! Variables of the HoneycombConfig exporter, and of its board.

use http::{HeaderName, HeaderValue};

use crate::{
    client::secret,
    config::{ConfigError, Reader, Unusable, http_url, secret as header_secret},
};

/// HoneycombConfig in the US; the EU has another. <https://docs.honeycomb.io/api/>
const DEFAULT_ENDPOINT: &str = "https://api.honeycomb.io";

/// Header of the key.
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

/// Where the HoneycombConfig exporter sends to.
#[derive(Clone, Debug)]
pub struct HoneycombConfig {
    /// The team's key. `None` for another OTLP backend.
    pub key: Option<secret::SecretSource>,
    /// Sent with a classic key.
    pub dataset: Option<HeaderValue>,
    /// Sent with every request besides. They do not print themselves.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Base URL without a slash at its end; the signals' paths are appended.
    pub endpoint: String,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// An error if there is one that cannot be used: then nothing is sent, rather than without it.
    pub(crate) fn honeycomb_key(&mut self) -> Result<Option<secret::SecretSource>, Unusable> {
        if let Some(source) = self.secret("HONEYCOMB_API_KEY", "HONEYCOMB_API_KEY_SECRET")? {
            return Ok(Some(source));
        }
        let list = self.get("OTEL_EXPORTER_OTLP_HEADERS");
        let Some(key) = list.and_then(|list| header_value(&list, TEAM)) else { return Ok(None) };
        match header_secret(&key) {
            Ok(key) => Ok(Some(secret::SecretSource::Inline(key))),
            Err(reason) => {
                let variable = "OTEL_EXPORTER_OTLP_HEADERS";
                self.errors.push(ConfigError { variable, reason });
                Err(Unusable)
            }
        }
    }

    /// `named`: whether somebody asked for this exporter, so that a missing key is worth a word.
    pub(crate) fn honeycomb(
        &mut self,
        named: bool,
        key: Result<Option<secret::SecretSource>, Unusable>,
        endpoint: Result<String, Unusable>,
    ) -> Option<HoneycombConfig> {
        let headers = self.parsed("CRUDDUR_OTLP_HEADERS", parse_headers).unwrap_or_default();
        let key = key.ok()?;
        if key.is_none() && headers.is_empty() {
            if named {
                let reason = "names honeycomb, which needs HONEYCOMB_API_KEY".into();
                self.errors.push(ConfigError { variable: "CRUDDUR_EXPORTERS", reason });
            }
            return None;
        }
        let dataset = self.parsed("HONEYCOMB_DATASET", header_secret);
        if let (Some(secret::SecretSource::Inline(key)), None) = (&key, &dataset)
            && is_classic(key)
        {
            let reason = "must be set, since HONEYCOMB_API_KEY is a classic key".into();
            self.errors.push(ConfigError { variable: "HONEYCOMB_DATASET", reason });
        }
        Some(HoneycombConfig { key, dataset, headers, endpoint: endpoint.ok()? })
    }

    /// Never the default instead: nobody's telemetry goes where it was not meant to go.
    pub(crate) fn honeycomb_endpoint(&mut self) -> Result<String, Unusable> {
        match self.get("HONEYCOMB_API_ENDPOINT") {
            None => Ok(DEFAULT_ENDPOINT.to_owned()),
            Some(_) => self.parsed("HONEYCOMB_API_ENDPOINT", base_url).ok_or(Unusable),
        }
    }

    /// With a key of its own, or that of the exporter.
    pub(crate) fn board(
        &mut self,
        key: Result<Option<secret::SecretSource>, Unusable>,
        endpoint: Result<String, Unusable>,
    ) -> Option<HoneycombConfig> {
        let own = self
            .parsed("HONEYCOMB_CONFIGURATION_KEY", header_secret)
            .map(secret::SecretSource::Inline);
        let key = Some(own.or_else(|| key.ok()?)?);
        Some(HoneycombConfig { key, dataset: None, headers: Vec::new(), endpoint: endpoint.ok()? })
    }
}

/// A list `name=value,name2=value2`.
fn parse_headers(list: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or("is no list of name=value")?;
        let name = name.trim().parse().map_err(|_| format!("{:?} is no header", name.trim()))?;
        Ok((name, header_secret(value.trim())?))
    };
    list.split(',').map(header).collect()
}

fn base_url(text: &str) -> Result<String, String> {
    match http_url(text, "honeycomb")?.query() {
        None => Ok(text.trim_end_matches('/').to_owned()),
        Some(_) => Err("ends with a query, so honeycomb gets nothing: paths are appended".into()),
    }
}

/// One value of a list `key=value,key2=value2` as `OTEL_EXPORTER_OTLP_HEADERS` holds it.
fn header_value(list: &str, key: &str) -> Option<String> {
    list.split(',').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
    })
}
