//! Attributes lines to invocations by the order of the Telemetry API's events: lines between one
//! `platform.start` and the next belong to the first. A line that names a known invocation belongs to it.
//! Managed Instances run several invocations at once: there other lines belong to the only running one
//! or, while none runs, to the last. While several run, they belong to none.
//!
//! | `phase` | when | `requestId` |
//! |---|---|---|
//! | `init` | the function is starting, before its first invocation or again within one | of that one, if any |
//! | `invoke` | the invocation is running | its own |
//! | `after` | the runtime has finished the invocation, or ended with it | its own |

use std::{collections::VecDeque, time::SystemTime};

use serde::Serialize;
use serde_json::Value;
use trace_context::{TraceId, XrayHeader};

use crate::lambda::extensions_api::Invoke;

/// Most invocations that are kept: those without a report, the current one and the one before. More
/// than a managed instance runs at once.
const REMEMBERED: usize = 128;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LambdaPhase {
    #[default]
    Init,
    Invoke,
    /// The last invocation is over.
    After,
}

/// An invocation, as known from INVOKE and platform events.
#[derive(Clone, Debug)]
pub struct InvocationState {
    pub request_id: String,
    /// `1-<8 hex>-<24 hex>`
    pub xray_trace_id: Option<String>,
    /// Taken from the first of its JSON lines that has a trace id.
    pub trace_id: Option<TraceId>,
    /// Whether it is the first of the sandbox.
    pub is_first: bool,
    pub started: SystemTime,
    /// `success`, `error`, `timeout` or `failure`, once the platform has reported it.
    pub status: Option<String>,
    /// Whether a line has carried its metrics.
    pub is_reported: bool,
}

/// The function and the state of its sandbox.
#[derive(Debug)]
pub struct LineContext {
    pub function: String,
    /// From the settings, then from events; `None` until one of them has it.
    pub version: Option<String>,
    /// Such as `on-demand`.
    pub initialization_type: Option<String>,
    pub phase: LambdaPhase,
    /// In the order of their start. Where they run one by one, the last is the current one.
    pub invocations: VecDeque<InvocationState>,
    /// The invocation of the last INVOKE, until its `platform.start` arrives; that event may be late or
    /// missing.
    invoked: Option<InvocationState>,
    /// Whether an INVOKE has arrived, as it does only where invocations run one by one.
    one_by_one: bool,
    pub has_had_invocation: bool,
}

impl LineContext {
    pub fn new(function: String, version: Option<String>) -> Self {
        Self {
            function,
            version,
            initialization_type: None,
            phase: LambdaPhase::Init,
            invocations: VecDeque::new(),
            invoked: None,
            one_by_one: false,
            has_had_invocation: false,
        }
    }

    pub fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        self.one_by_one = true;
        let header = invoke.xray_header();
        let xray_trace_id = header.as_deref().and_then(xray_trace_id);
        if let Some(known) = self.find(&invoke.request_id).filter(|known| !known.is_reported) {
            known.xray_trace_id = known.xray_trace_id.take().or(xray_trace_id);
            return;
        }
        self.invoked = Some(InvocationState {
            request_id: invoke.request_id.clone(),
            xray_trace_id,
            trace_id: None,
            is_first: false, // known when it is taken over
            started: now,
            status: None,
            is_reported: false,
        });
    }

    /// Handles a platform event, before its own line is made.
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
            "platform.initStart" | "platform.restoreStart" => self.phase = LambdaPhase::Init,
            "platform.initReport" | "platform.restoreReport" if !self.invocations.is_empty() => {
                self.phase = LambdaPhase::Invoke;
            }
            "platform.start" => self.start(record, time),
            "platform.runtimeDone" => {
                self.phase = LambdaPhase::After;
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
        // A retried event is two invocations with one id. An invocation that began before its start
        // event arrived is one.
        let begun = self.invocations.iter().position(|it| it.request_id == request_id);
        let begun = begun.and_then(|index| self.invocations.remove(index));
        let begun = begun.filter(|begun| !begun.is_reported);
        let known = begun.or_else(|| self.invoked.take_if(|it| it.request_id == request_id));
        let is_first = known.as_ref().is_some_and(|it| it.is_first);
        let header = record["tracing"]["value"].as_str().and_then(xray_trace_id);
        self.push(InvocationState {
            request_id: request_id.to_owned(),
            trace_id: known.as_ref().and_then(|it| it.trace_id),
            xray_trace_id: header.or_else(|| known?.xray_trace_id),
            is_first,
            started: time,
            status: None,
            is_reported: false,
        });
    }

    fn push(&mut self, mut invocation: InvocationState) {
        // A line of the previous invocation may be late.
        let mut left = self.invocations.len();
        self.invocations.retain(|known| {
            left -= 1;
            left == 0 || !known.is_reported
        });
        if self.invocations.len() == REMEMBERED {
            self.invocations.pop_front();
        }
        invocation.is_first |= !std::mem::replace(&mut self.has_had_invocation, true);
        self.invocations.push_back(invocation);
        self.phase = LambdaPhase::Invoke;
    }

    pub fn find(&mut self, request_id: &str) -> Option<&mut InvocationState> {
        self.invocations.iter_mut().find(|known| known.request_id == request_id)
    }

    /// The last invocation without metrics in a line, also if its start event never arrived.
    pub fn unreported(&self) -> Option<&InvocationState> {
        let last = self.invocations.iter().rfind(|known| !known.is_reported);
        self.invoked.as_ref().or(last)
    }

    /// All invocations without metrics in a line, oldest first.
    pub fn all_unreported(&mut self) -> impl Iterator<Item = &mut InvocationState> {
        self.take_over_invoked();
        self.invocations.iter_mut().filter(|known| !known.is_reported)
    }

    /// Index of the invocation to which a line belongs. `named` is the request id in the line; unknown
    /// request ids are ignored. `time` matters only while no `platform.start` has arrived.
    pub fn invocation(&mut self, named: Option<&str>, time: SystemTime) -> Option<usize> {
        // A process that started during an invocation has not received its start event.
        if self.invocations.is_empty() && self.invoked.as_ref().is_some_and(|it| it.started <= time)
        {
            self.take_over_invoked();
        }
        let named = named.and_then(|id| self.invocations.iter().position(|it| it.request_id == id));
        named.or_else(|| self.current())
    }

    fn current(&self) -> Option<usize> {
        let last = self.invocations.len().checked_sub(1);
        let is_open =
            |it: &InvocationState| !self.one_by_one && !it.is_reported && it.status.is_none();
        let mut open =
            (0..self.invocations.len()).filter(|index| is_open(&self.invocations[*index]));
        match (open.next(), open.next()) {
            (None, _) => last,
            (only, None) => only,
            _ => None,
        }
    }

    fn take_over_invoked(&mut self) {
        if let Some(invoked) = self.invoked.take() {
            self.push(invoked);
        }
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
