//! The least level of lines and log records.

use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::log_level::LogLevel;

/// The least level at each destination that has one.
#[derive(Clone, Debug, Default)]
pub struct LeastLevels(Vec<(FilteredAt, LogLevel)>);

impl LeastLevels {
    /// Fails for an unknown level.
    pub fn add(&mut self, destination: FilteredAt, level: &str) -> Result<(), String> {
        let level = LogLevel::parse(level).ok_or_else(|| {
            "is ignored, so all levels are sent: not trace, debug, info, warn, error or fatal"
                .to_owned()
        })?;
        self.0.push((destination, level));
        Ok(())
    }

    pub fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// The destinations that do not get this level.
    pub(crate) fn filtered_at(&self, level: LogLevel) -> FilteredAt {
        let mut filtered = FilteredAt::NOWHERE;
        for (destination, least) in &self.0 {
            filtered |= if level < *least { *destination } else { FilteredAt::NOWHERE };
        }
        filtered
    }
}
