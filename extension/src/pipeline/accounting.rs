//! The summary as lines, for destinations that take lines: when one is due.

use tokio::time::Instant;

use crate::{
    lines,
    signal::Signal,
    summary::{self, Summary},
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Accounting {
    function: String,
    told: Summary,
    tell_at: Instant,
    /// Whether something came since: these lines alone are no news.
    has_news: bool,
}

impl Accounting {
    pub(super) fn new(function: String, now: Instant) -> Self {
        let (told, tell_at) = (Summary::default(), now + summary::INTERVAL);
        Self { function, told, tell_at, has_news: false }
    }

    /// A signal has come.
    pub(super) fn note(&mut self) {
        self.has_news = true;
    }

    /// Whether it is time; the `last` one is always due if there is anything to tell.
    pub(super) fn is_due(&self, now: Instant, last: bool) -> bool {
        self.has_news && (last || now >= self.tell_at)
    }

    /// What has changed since the last time.
    pub(super) fn tell(&mut self, now: Instant, summary: Summary) -> Vec<Signal> {
        let lines = lines::account(&self.function, &summary, &self.told);
        self.told = summary;
        self.tell_at = now + summary::INTERVAL;
        self.has_news = false;
        lines
    }
}
