//! Variables of the RollbarConfig exporter.

use std::fmt;

use crate::{
    client::secret,
    config::{ConfigError, Reader, http_url},
    processor::failures::item::ItemLevel,
};

/// Where the RollbarConfig exporter sends to, and what.
#[derive(Clone, Debug)]
pub struct RollbarConfig {
    /// A token of scope `post_server_item`.
    pub token: secret::SecretSource,
    /// Whole URL.
    pub endpoint: String,
    /// The items' environment.
    pub environment: String,
    /// Failures below it are not sent.
    pub min_level: ItemLevel,
    /// What is sent of the client's address.
    pub client_address: ClientAddress,
    /// A link to a trace, `{trace_id}` in the place of its id.
    pub trace_url: Option<String>,
    /// The function's memory.
    pub memory_mb: Option<u64>,
    /// The sandbox: the name of its log stream.
    pub host: Option<String>,
}

/// What is sent of a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// All of it.
    Whole,
    /// Of IPv4 all but the last part, of IPv6 the first 48 bits.
    Anonymized,
    /// Nothing.
    None,
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Anonymized => "without its last part",
            Self::None => "never",
        })
    }
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// `named`: as for honeycomb. What cannot be read switches nothing off but itself, save for
    /// the token and the endpoint: items go nowhere else than where they are meant to go.
    pub(crate) fn rollbar(&mut self, named: bool) -> Option<RollbarConfig> {
        let token = self.secret("ROLLBAR_ACCESS_TOKEN", "ROLLBAR_ACCESS_TOKEN_SECRET").ok()?;
        let Some(token) = token else {
            if named {
                let reason = "names rollbar, which needs ROLLBAR_ACCESS_TOKEN".into();
                self.errors.push(ConfigError { variable: "CRUDDUR_EXPORTERS", reason });
            }
            return None;
        };
        let endpoint = match self.get("ROLLBAR_ENDPOINT") {
            None => "https://api.rollbar.com/api/1/item/".to_owned(),
            Some(_) => self.parsed("ROLLBAR_ENDPOINT", parse_endpoint)?,
        };
        Some(RollbarConfig {
            token,
            endpoint,
            environment: self
                .parsed("ROLLBAR_ENVIRONMENT", parse_environment)
                .unwrap_or_else(|| "production".to_owned()),
            min_level: self.parsed("ROLLBAR_LEVEL", parse_level).unwrap_or(ItemLevel::Error),
            client_address: match self.get("ROLLBAR_CAPTURE_IP") {
                None => ClientAddress::Whole,
                // Whoever spells it wrong wanted something else than the default.
                Some(_) => self
                    .parsed("ROLLBAR_CAPTURE_IP", parse_client_address)
                    .unwrap_or(ClientAddress::None),
            },
            trace_url: self.parsed("CRUDDUR_TRACE_URL", parse_trace_url),
            memory_mb: self
                .get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
                .and_then(|megabytes| megabytes.parse().ok()),
            host: self.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        })
    }
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    http_url(text, "rollbar").map(|_| text.to_owned())
}

/// <https://docs.rollbar.com/reference/create-item>
fn parse_environment(text: &str) -> Result<String, String> {
    match text.chars().count() {
        ..=255 => Ok(text.to_owned()),
        _ => Err("is ignored: longer than 255 characters".into()),
    }
}

fn parse_level(text: &str) -> Result<ItemLevel, String> {
    let level = ItemLevel::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text));
    level.ok_or_else(|| "is ignored: not debug, info, warning, error or critical".into())
}

/// The words of RollbarConfig's own libraries.
fn parse_client_address(text: &str) -> Result<ClientAddress, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(ClientAddress::Whole),
        "anonymize" | "anonymise" => Ok(ClientAddress::Anonymized),
        "false" => Ok(ClientAddress::None),
        _ => Err("is neither true, anonymize nor false, so no address is sent".into()),
    }
}

fn parse_trace_url(text: &str) -> Result<String, String> {
    match text.starts_with("http") && text.contains("{trace_id}") {
        true => Ok(text.to_owned()),
        false => Err("is ignored: no URL with {trace_id} in it".into()),
    }
}
