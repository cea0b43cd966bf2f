//! The level of an item, and the last step of its JSON.

use serde_json::Value;

use crate::otlp::log_level::LogLevel;

/// An item keeps the level of its first occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
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

/// The value without null, empty lists and empty objects, which Rollbar rejects in some places. Each text
/// passes through `clean`. `None` if nothing remains.
pub(super) fn cleaned(value: Value, clean: &impl Fn(&str) -> String) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(clean(&text).into()),
        Value::Array(items) => {
            let items: Vec<_> = items.into_iter().filter_map(|item| cleaned(item, clean)).collect();
            (!items.is_empty()).then(|| items.into())
        }
        Value::Object(fields) => {
            let field = |(key, value)| Some((key, cleaned(value, clean)?));
            let fields: serde_json::Map<_, _> = fields.into_iter().filter_map(field).collect();
            (!fields.is_empty()).then(|| fields.into())
        }
        other => Some(other),
    }
}
