//! The level of a log line or record, by the names and numbers of the loggers.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl LogLevel {
    /// Reads a name in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "information" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "err" | "error" => Self::Error,
            "critical" | "fatal" | "panic" | "emergency" => Self::Fatal,
            _ => return None,
        })
    }

    /// The numbers of bunyan and pino, which ends a class at the next multiple of ten.
    pub(crate) fn from_number(number: f64) -> Self {
        match number {
            ..20.0 => Self::Trace,
            ..30.0 => Self::Debug,
            ..40.0 => Self::Info,
            ..50.0 => Self::Warn,
            ..60.0 => Self::Error,
            _ => Self::Fatal,
        }
    }

    /// OpenTelemetry's `SeverityNumber`; an unset one counts as info.
    /// <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>
    pub(crate) fn from_severity(number: i32) -> Self {
        match number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21.. => Self::Fatal,
            _ => Self::Info,
        }
    }

    /// The level of a log record, by its severity's text if it has no number.
    pub(crate) fn of_record(number: i32, text: &str) -> Self {
        let named = Self::parse(text).filter(|_| number == 0);
        named.unwrap_or_else(|| Self::from_severity(number))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}
