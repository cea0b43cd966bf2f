//! Attributes that are dropped or masked.

use crate::otlp::filter::pattern::TextPattern;

/// By the whole key of an attribute or map entry.
#[derive(Clone, Debug, Default)]
pub struct AttributeFilter {
    pub dropped: Vec<TextPattern>,
    pub masked: Vec<TextPattern>,
}

impl AttributeFilter {
    /// Whether the attribute does not stay as it is.
    #[inline]
    pub fn changes(&self, key: &[u8]) -> bool {
        // Each attribute of each span comes here, and most functions have no such filter.
        let is_on = !self.dropped.is_empty() || !self.masked.is_empty();
        is_on && (self.drops(key) || self.masks(key))
    }

    pub fn drops(&self, key: &[u8]) -> bool {
        self.dropped.iter().any(|pattern| pattern.matches(key))
    }

    pub fn masks(&self, key: &[u8]) -> bool {
        self.masked.iter().any(|pattern| pattern.matches(key))
    }
}
