//! The item that Rollbar takes, one in each request, as far as this program fills it.
//! <https://docs.rollbar.com/reference/create-item>,
//! <https://github.com/rollbar/rollbar-php/blob/master/POST_FORMAT.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::otlp::log_level::LogLevel;

pub type Texts = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub data: ItemData,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemData {
    /// At most 255 characters, such as `production`.
    pub environment: String,
    pub body: ItemBody,
    /// An item keeps the level of its first occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<ItemLevel>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// A version, number or commit; at most 40 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_version: Option<String>,
    /// The operating system. `browser` and the like would need another kind of token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The program that runs the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// The route. Rollbar searches it by prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ItemRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<ItemPerson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ItemServer>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Value>,
    /// Items with one fingerprint are occurrences of one item; at most 40 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Rollbar drops the second of two items with one uuid; at most 36 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifier: Option<Notifier>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemBody {
    #[serde(flatten)]
    pub content: ItemContent,
    /// The last log lines of the invocation when the item was made, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<TelemetryEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemContent {
    Trace(ItemTrace),
    /// The outermost exception first.
    TraceChain(Vec<ItemTrace>),
    Message(ItemMessage),
}

impl Default for ItemContent {
    fn default() -> Self {
        Self::Message(ItemMessage::default())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemTrace {
    /// The most recent call is the last.
    pub frames: Vec<ItemFrame>,
    pub exception: ItemException,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemFrame {
    pub filename: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineno: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colno: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Whether the program owns the frame. Not a field of Rollbar's format, which accepts further
    /// fields: the raw item shows it.
    #[serde(default)]
    pub in_project: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemException {
    pub class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stack's text, if its form is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemMessage {
    pub body: String,
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetryEntry {
    pub level: ItemLevel,
    /// `log`, `network`, `dom`, `navigation`, `error` or `manual`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `server` or `client`.
    pub source: String,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// `{"message": …}` for a log entry.
    pub body: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// By `Header-Name`.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub headers: Texts,
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub params: Texts,
    #[serde(rename = "GET", default, skip_serializing_if = "Texts::is_empty")]
    pub get: Texts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_string: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ip: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemPerson {
    /// At most 40 characters.
    pub id: String,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemServer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The directory of the code, without a slash at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    pub name: String,
    pub version: String,
}

impl ItemLevel {
    /// The least severe first.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl From<LogLevel> for ItemLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace | LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warning,
            LogLevel::Error => Self::Error,
            LogLevel::Fatal => Self::Critical,
        }
    }
}
