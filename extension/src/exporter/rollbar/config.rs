//! Settings of the Rollbar exporter.

use crate::client::secret::SecretSource;
use crate::processor::failures::item::ItemLevel;
use crate::processor::failures::settings::{ClientAddress, ItemSettings};
use crate::settings::{Reader, Variable, parse_http_url, parse_trace_url};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        "ROLLBAR_ACCESS_TOKEN",
        "",
        "a token of scope post_server_item; switches rollbar on",
    )
    .secret(),
    Variable::new(
        "ROLLBAR_ACCESS_TOKEN_SECRET",
        "",
        "where AWS keeps that token, as HONEYCOMB_API_KEY_SECRET",
    ),
    Variable::new(
        "ROLLBAR_ENDPOINT",
        "https://api.rollbar.com/api/1/item/",
        "the whole URL to which items are posted",
    )
    .url(),
    Variable::new("ROLLBAR_ENVIRONMENT", "production", "the environment of the items"),
    Variable::new(
        "ROLLBAR_LEVEL",
        "error",
        "the lowest level of a failure that is sent: debug, info, warning, error or critical",
    ),
    Variable::new(
        "ROLLBAR_CAPTURE_IP",
        "true",
        "the client's address: true, anonymize (without its last part) or false",
    ),
    Variable::new(
        "CRUDDUR_TRACE_URL",
        "",
        "the URL of a trace, {trace_id} in place of its id: a link in each item, and in the console without a page",
    )
    .url(),
    Variable::new("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "", "megabytes; set by Lambda"),
    Variable::new("AWS_LAMBDA_LOG_STREAM_NAME", "", "set by Lambda"),
];

#[derive(Clone, Debug)]
pub struct RollbarConfig {
    /// A token of scope `post_server_item`.
    pub token: SecretSource,
    pub endpoint: String,
    pub items: ItemSettings,
}

impl RollbarConfig {
    /// `named`: whether `CRUDDUR_EXPORTERS` names the exporter, so that a missing token is an error.
    ///
    /// An invalid variable falls back to its default, but for two: an invalid token or endpoint switches
    /// the exporter off, and an invalid `ROLLBAR_CAPTURE_IP` sends no address.
    pub fn read(reader: &mut Reader<'_>, named: bool) -> Option<Self> {
        let token =
            SecretSource::read(reader, "ROLLBAR_ACCESS_TOKEN", "ROLLBAR_ACCESS_TOKEN_SECRET")
                .ok()?;
        let Some(token) = token else {
            if named {
                let reason = "names rollbar, which needs ROLLBAR_ACCESS_TOKEN";
                reader.reject("CRUDDUR_EXPORTERS", reason);
            }
            return None;
        };
        let endpoint = reader.valid_or_default("ROLLBAR_ENDPOINT", parse_endpoint).ok()?;
        Some(Self { token, endpoint, items: read_items(reader) })
    }
}

/// The settings of items, also where Rollbar gets none.
pub fn read_items(reader: &mut Reader<'_>) -> ItemSettings {
    ItemSettings {
        environment: reader.or_default("ROLLBAR_ENVIRONMENT", parse_environment),
        min_level: reader.or_default("ROLLBAR_LEVEL", parse_level),
        // A misspelt value meant something other than the default, so no address is sent.
        client_address: reader
            .valid_or_default("ROLLBAR_CAPTURE_IP", parse_client_address)
            .unwrap_or(ClientAddress::None),
        trace_url: reader.parsed("CRUDDUR_TRACE_URL", parse_trace_url),
        memory_mb: reader
            .get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
            .and_then(|megabytes| megabytes.parse().ok()),
        host: reader.get("AWS_LAMBDA_LOG_STREAM_NAME"),
    }
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    parse_http_url(text, "rollbar").map(|_| text.to_owned())
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

/// The same values as Rollbar's own libraries.
fn parse_client_address(text: &str) -> Result<ClientAddress, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(ClientAddress::Whole),
        "anonymize" | "anonymise" => Ok(ClientAddress::Anonymized),
        "false" => Ok(ClientAddress::None),
        _ => Err("is neither true, anonymize nor false, so no address is sent".into()),
    }
}
