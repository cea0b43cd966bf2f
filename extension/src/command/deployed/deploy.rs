//! The record of a deploy, and how a destination answers it.

#[derive(Debug)]
pub(super) struct Deploy<'a> {
    pub(super) revision: &'a str,
    pub(super) url: Option<&'a str>,
}

/// The end of a destination's call: its answer, or why it was left out.
pub(super) enum DeployOutcome {
    Recorded(String),
    LeftOut(&'static str),
}
