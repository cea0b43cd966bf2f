//! Everything that happened in a sandbox, in order, with monotonic time.

use std::fmt;
use std::time::{Duration, Instant};

/// A process that the sandbox runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The function's process.
    Runtime,
    /// An extension's process, by the name of its executable.
    Extension(String),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// One line of the journal.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the sandbox saw it.
    pub at: Instant,
    /// What it was.
    pub what: What,
}

/// An API call by the function or an extension, or an act of the sandbox. Statuses are those answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names of the fields say it
pub enum What {
    RuntimeNext,
    RuntimeResponse { request_id: String, status: u16 },
    RuntimeError { request_id: String, error_type: String, status: u16 },
    RuntimeInitError { error_type: String },
    Register { name: String, status: u16, error_type: Option<String> },
    ExtensionNext { name: String },
    ExtensionInitError { name: String, status: u16 },
    ExtensionExitError { name: String, status: u16 },
    Subscribe { name: String, status: u16 },
    Started(Party),
    Signalled(Party, &'static str),
    Exited(Party, Exit),
    InitEnded { succeeded: bool },
    InvokeStarted { request_id: String },
    InvokeEnded { request_id: String, status: &'static str },
    Frozen,
    Thawed,
    Shutdown { reason: &'static str },
    Delivered { name: String, types: Vec<String> },
    DeliveryFailed { name: String },
}

/// The journal up to the moment it was asked for.
#[derive(Clone)]
pub struct Journal(pub(crate) Vec<Entry>);

impl Journal {
    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// How often something happened.
    pub fn count(&self, wanted: impl Fn(&What) -> bool) -> usize {
        self.0.iter().filter(|entry| wanted(&entry.what)).count()
    }

    /// When something happened first.
    pub fn first(&self, wanted: impl Fn(&What) -> bool) -> Option<Instant> {
        self.0.iter().find(|entry| wanted(&entry.what)).map(|entry| entry.at)
    }

    /// When the runtime posted its reply to this invocation.
    pub fn response(&self, request_id: &str) -> Option<Instant> {
        self.first(|what| match what {
            What::RuntimeResponse { request_id: id, .. } => id == request_id,
            What::RuntimeError { request_id: id, .. } => id == request_id,
            _ => false,
        })
    }

    /// When the runtime asked for the next invocation after replying to this one.
    pub fn runtime_next(&self, request_id: &str) -> Option<Instant> {
        let response = self.response(request_id)?;
        let is_next = |entry: &&Entry| entry.at >= response && entry.what == What::RuntimeNext;
        self.0.iter().find(is_next).map(|entry| entry.at)
    }

    /// How long the function worked on after its reply was posted, until its Next.
    pub fn runtime_overhead(&self, request_id: &str) -> Option<Duration> {
        Some(self.runtime_next(request_id)? - self.response(request_id)?)
    }

    /// How long extensions kept Next to themselves after this invocation's reply was posted.
    ///
    /// Zero if all were in Next before; `None` while the invocation goes on.
    pub fn hold_of_next(&self, request_id: &str) -> Option<Duration> {
        let response = self.response(request_id)?;
        let is_start = |what: &What| matches!(what, What::InvokeStarted { request_id: id } if id == request_id);
        let is_end = |what: &What| matches!(what, What::InvokeEnded { request_id: id, .. } if id == request_id);
        let start = self.0.iter().position(|entry| is_start(&entry.what))?;
        let end = self.0.iter().position(|entry| is_end(&entry.what))?;
        let is_next = |entry: &&Entry| matches!(entry.what, What::ExtensionNext { .. });
        let next = self.0[start..end].iter().rfind(is_next)?;
        Some(next.at.saturating_duration_since(response))
    }

    /// How a process ended the last time.
    pub fn exit(&self, party: &Party) -> Option<Exit> {
        self.0.iter().rev().find_map(|entry| match &entry.what {
            What::Exited(who, exit) if who == party => Some(*exit),
            _ => None,
        })
    }
}

impl fmt::Debug for Journal {
    /// One entry a line, in milliseconds since the first.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return writeln!(out, "(empty)") };
        for entry in &self.0 {
            let millis = (entry.at - first.at).as_secs_f64() * 1000.0;
            writeln!(out, "{millis:>10.3} ms  {:?}", entry.what)?;
        }
        Ok(())
    }
}
