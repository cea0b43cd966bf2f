//! An item as Rollbar takes it: one in each request.
//! <https://docs.rollbar.com/reference/create-item>,
//! <https://github.com/rollbar/rollbar-php/blob/master/POST_FORMAT.md>
//!
//! Complete for items of servers. What only a reporter inside of the process can know, such as
//! `locals`, is here so that the type is the format's; nothing in this program sets it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Texts by name.
pub type Texts = BTreeMap<String, String>;

/// The request's body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// All of it: the token is a header.
    pub data: ItemData,
}

/// What happened, to whom and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemData {
    /// Such as `production`; 255 characters at most.
    pub environment: String,
    /// What happened.
    pub body: ItemBody,
    /// How grave it is. An item keeps its first occurrence's level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<ItemLevel>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// A version, number or commit; 40 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_version: Option<String>,
    /// The operating system. `browser` and the like would need another kind of token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The programming language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What runs the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// The route; can be searched for by its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The request that was being served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ItemRequest>,
    /// Who had asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<ItemPerson>,
    /// Who had been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ItemServer>,
    /// Whatever else is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Value>,
    /// Items of one fingerprint are occurrences of one; 40 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Instead of the one that Rollbar makes of the body; 255 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Of two items with the same one, Rollbar drops the second; 36 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Who reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifier: Option<Notifier>,
}

/// How grave an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemLevel {
    /// Of interest to whoever looks for something.
    Debug,
    /// Nothing is wrong.
    Info,
    /// Something may go wrong.
    Warning,
    /// Something went wrong.
    Error,
    /// Nothing works.
    Critical,
}

/// What happened, and what before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemBody {
    /// Exactly one of four.
    #[serde(flatten)]
    pub content: ItemContent,
    /// What happened before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<TelemetryEntry>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemContent {
    /// An exception.
    Trace(ItemTrace),
    /// An exception and its causes, the outermost first.
    TraceChain(Vec<ItemTrace>),
    /// Only words.
    Message(ItemMessage),
    /// What a crashed process left. Never set here: of a killed process nothing is left to read.
    CrashReport(CrashReport),
}

impl Default for ItemContent {
    fn default() -> Self {
        Self::Message(ItemMessage::default())
    }
}

/// An exception and where it was thrown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemTrace {
    /// The most recent call last.
    pub frames: Vec<ItemFrame>,
    /// What was thrown.
    pub exception: ItemException,
}

/// A call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemFrame {
    /// Its source file.
    pub filename: String,
    /// The line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineno: Option<u32>,
    /// The column in that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colno: Option<u32>,
    /// The function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The text of the line. Never set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The lines around it. Never set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<CodeContext>,
    /// Positional arguments. Never set here, like the next two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Value>,
    /// Named arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kwargs: BTreeMap<String, Value>,
    /// Local variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub locals: BTreeMap<String, Value>,
    /// Whether the call is the program's own, not a library's. No field of Rollbar's format, which
    /// takes further ones: it is shown with the raw item.
    #[serde(default)]
    pub in_project: bool,
}

/// Source code around a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CodeContext {
    /// The lines before.
    #[serde(default)]
    pub pre: Vec<String>,
    /// The lines after.
    #[serde(default)]
    pub post: Vec<String>,
}

/// What was thrown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemException {
    /// Its type.
    pub class: String,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What somebody adds to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Words, and whatever was said beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemMessage {
    /// The words.
    pub body: String,
    /// The rest.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// A crash, as the system tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CrashReport {
    /// The text.
    pub raw: String,
}

/// Something that happened before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetryEntry {
    /// How grave it was.
    pub level: ItemLevel,
    /// `log`, `network`, `dom`, `navigation`, `error` or `manual`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `server` or `client`.
    pub source: String,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// For a log: `{"message": …}`.
    pub body: Value,
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemRequest {
    /// All of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// In capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// By `Header-Name`.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub headers: Texts,
    /// The route's.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub params: Texts,
    /// The query's.
    #[serde(rename = "GET", default, skip_serializing_if = "Texts::is_empty")]
    pub get: Texts,
    /// The query as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_string: Option<String>,
    /// A form's. Never set here, like the next one: bodies are not sent.
    #[serde(rename = "POST", default, skip_serializing_if = "Texts::is_empty")]
    pub post: Texts,
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ip: Option<String>,
    /// Names of the files that came with it. Never set here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files_keys: Vec<String>,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemPerson {
    /// 40 characters at most.
    pub id: String,
    /// 255 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// 255 characters at most. Never set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// Where the program runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemServer {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where its code is, without a slash at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The branch it was built from. Never set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// As in [`ItemData`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_version: Option<String>,
    /// The process. Never set here, like the next one: it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
}

/// A program that reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl ItemLevel {
    /// All of them, the least grave first.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// As Rollbar writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// By the names that loggers use, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" | "debug" => Self::Debug,
            "info" | "information" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warning,
            "err" | "error" => Self::Error,
            "critical" | "fatal" | "panic" | "emergency" => Self::Critical,
            _ => return None,
        })
    }
}
