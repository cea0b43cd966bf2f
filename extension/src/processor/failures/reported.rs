//! What was told, so that it is not told again.

use std::collections::VecDeque;

/// Most entries. Our choice: many more than can still be told of.
const MAX_TOLD: usize = 512;

/// See the module's documentation. Oldest first.
#[derive(Debug, Default)]
pub(super) struct ReportedKeys(VecDeque<ReportedEntry>);

#[derive(Debug)]
struct ReportedEntry {
    key: String,
    /// Of a trace: the request whose failure that was, as far as is known.
    request_id: Option<String>,
}

impl ReportedKeys {
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|told| told.key == key)
    }

    /// Whether what was told of a trace is of this request. The first that asks was meant.
    pub(super) fn has_of(&mut self, trace: &str, request_id: &str) -> bool {
        self.0
            .iter_mut()
            .filter(|told| told.key == trace)
            .any(|told| told.request_id.get_or_insert_with(|| request_id.to_owned()) == request_id)
    }

    pub(super) fn add(&mut self, key: String) {
        if self.0.len() == MAX_TOLD {
            self.0.pop_front();
        }
        self.0.push_back(ReportedEntry { key, request_id: None });
    }
}
