//! The keys of reported failures, so that each is reported once.

use std::collections::VecDeque;

/// Most entries: many more than the invocations whose evidence may still arrive.
const MAX_ENTRIES: usize = 512;

/// Oldest first.
#[derive(Debug, Default)]
pub(super) struct ReportedKeys(VecDeque<ReportedEntry>);

#[derive(Debug)]
struct ReportedEntry {
    key: String,
    /// For a trace: the invocation that the failure belongs to, once it is known.
    invocation: Option<String>,
}

impl ReportedKeys {
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|entry| entry.key == key)
    }

    /// Whether the report of a trace belongs to this invocation. The first one to ask claims it.
    pub(super) fn has_of(&mut self, trace: &str, invocation: &str) -> bool {
        self.0.iter_mut().filter(|entry| entry.key == trace).any(|entry| {
            entry.invocation.get_or_insert_with(|| invocation.to_owned()) == invocation
        })
    }

    pub(super) fn add(&mut self, key: String) {
        if self.0.len() == MAX_ENTRIES {
            self.0.pop_front();
        }
        self.0.push_back(ReportedEntry { key, invocation: None });
    }
}
