//! Which invocation a line belongs to, by the order in which the Telemetry API delivers: what comes
//! between `platform.start` of one and that of the next is of the one.
//!
//! | `phase` | when | `requestId` |
//! |---|---|---|
//! | `init` | the function is starting, before its first invocation or again within one | of that one, if any |
//! | `invoke` | the invocation is running | its |
//! | `after` | the runtime has finished it, or ended with it | its |

use std::{collections::VecDeque, time::SystemTime};

use serde::Serialize;
use serde_json::Value;
use trace_context::{TraceId, XrayHeader};

use crate::extensions_api::Invoke;

/// The current invocation and the one before: a line may be late. Our choice.
const REMEMBERED: usize = 2;

/// What goes on in the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The function is starting.
    #[default]
    Init,
    /// An invocation is running.
    Invoke,
    /// The last one is over.
    After,
}

/// An invocation, as far as the platform has told of it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's id.
    pub request_id: String,
    /// `1-<8 hex>-<24 hex>`
    pub xray_trace_id: Option<String>,
    /// As the first of its lines that has one says.
    pub trace_id: Option<String>,
    /// Whether it is the sandbox's first.
    pub is_first: bool,
    /// When it began.
    pub started: SystemTime,
    /// How it ended, if the platform has said so: `success`, `error`, `timeout`, `failure`.
    pub status: Option<String>,
    /// Whether its metrics have been told.
    pub is_reported: bool,
}

/// The function, and what is going on in it.
#[derive(Debug)]
pub struct Context {
    /// The function's name.
    pub function: String,
    /// Its version, as soon as something tells.
    pub version: Option<String>,
    /// How the sandbox came to be, such as `on-demand`.
    pub initialization_type: Option<String>,
    /// What goes on.
    pub phase: Phase,
    /// The last one is the current one.
    invocations: VecDeque<Invocation>,
    /// By the Extensions API, which may be ahead of the Telemetry API, or know more.
    invoked: Option<Invocation>,
    has_had_invocation: bool,
}

impl Context {
    /// Of a sandbox in which nothing has happened.
    pub fn new(function: String, version: Option<String>) -> Self {
        Self {
            function,
            version,
            initialization_type: None,
            phase: Phase::Init,
            invocations: VecDeque::new(),
            invoked: None,
            has_had_invocation: false,
        }
    }

    /// The Extensions API tells of an invocation.
    pub fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        let header = invoke.xray_header();
        self.invoked = Some(Invocation {
            request_id: invoke.request_id.clone(),
            xray_trace_id: header.as_deref().and_then(xray_trace_id),
            trace_id: None,
            is_first: !self.has_had_invocation,
            started: now,
            status: None,
            is_reported: false,
        });
    }

    /// The Telemetry API tells something: what is said of it comes after.
    pub fn platform(&mut self, kind: &str, record: &Value, time: SystemTime) {
        if let Some(kind) = record["initializationType"].as_str() {
            self.initialization_type = Some(kind.to_owned());
        }
        for version in [&record["functionVersion"], &record["version"]] {
            if let Some(version) = version.as_str() {
                self.version = Some(version.to_owned());
            }
        }
        match kind {
            "platform.initStart" | "platform.restoreStart" => self.phase = Phase::Init,
            "platform.initReport" | "platform.restoreReport" if !self.invocations.is_empty() => {
                self.phase = Phase::Invoke;
            }
            "platform.start" => self.start(record, time),
            "platform.runtimeDone" => {
                self.phase = Phase::After;
                let id = record["requestId"].as_str();
                if let Some(invocation) = id.and_then(|id| self.find(id)) {
                    invocation.status = record["status"].as_str().map(str::to_owned);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, record: &Value, time: SystemTime) {
        let Some(request_id) = record["requestId"].as_str() else { return };
        let told = self.invoked.take().filter(|told| told.request_id == request_id);
        let header = record["tracing"]["value"].as_str().and_then(xray_trace_id);
        let told_trace = told.and_then(|told| told.xray_trace_id);
        if self.invocations.len() == REMEMBERED {
            self.invocations.pop_front();
        }
        self.invocations.push_back(Invocation {
            request_id: request_id.to_owned(),
            xray_trace_id: header.or(told_trace),
            trace_id: None,
            is_first: !std::mem::replace(&mut self.has_had_invocation, true),
            started: time,
            status: None,
            is_reported: false,
        });
        self.phase = Phase::Invoke;
    }

    /// One of the invocations that have begun lately.
    pub fn find(&mut self, request_id: &str) -> Option<&mut Invocation> {
        self.invocations.iter_mut().find(|known| known.request_id == request_id)
    }

    /// The last invocation whose metrics have not been told.
    pub fn unreported(&mut self) -> Option<&mut Invocation> {
        self.invocations.iter_mut().rfind(|known| !known.is_reported)
    }

    /// Whose a line of this time is that names this invocation, or none. A name that the platform
    /// has not told lately is not believed.
    pub fn invocation(&mut self, named: Option<&str>, time: SystemTime) -> Option<&mut Invocation> {
        // A process that began in the middle of an invocation has seen no start of it.
        if self.invocations.is_empty() && self.invoked.as_ref().is_some_and(|it| it.started <= time)
        {
            self.invocations.extend(self.invoked.take());
            self.has_had_invocation = true;
            self.phase = Phase::Invoke;
        }
        let current = self.invocations.len().checked_sub(1)?;
        let named = named.and_then(|id| self.invocations.iter().position(|it| it.request_id == id));
        self.invocations.get_mut(named.unwrap_or(current))
    }
}

/// `1-<8 hex>-<24 hex>` of a header.
pub fn xray_trace_id(header: &str) -> Option<String> {
    XrayHeader::parse(header).map(|header| xray_form(header.root))
}

fn xray_form(trace_id: TraceId) -> String {
    let hex = trace_id.to_string();
    format!("1-{}-{}", &hex[..8], &hex[8..])
}
