//! How an environment comes up and how an invocation begins and ends.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::invocation::Invocation;
use super::{Machine, Phase};
use crate::sandbox::journal::{Party, What};
use crate::sandbox::platform::{self, InitPhase};
use crate::sandbox::reply::FailureKind;
use crate::sandbox::routes::Answer;

impl Machine {
    /// Extensions first; the runtime starts when all of them have registered.
    pub(super) fn begin_init(&mut self, phase: InitPhase) {
        self.generation += 1;
        self.agents.clear();
        self.runtime = None;
        self.broken = None;
        self.frozen = false;
        self.init.began = Instant::now();
        self.init.phase = phase;
        self.enter(Phase::Init);
        self.telemetry.reset();
        let name = &self.setup.function_name;
        self.emit_init(platform::init_start(phase, name, self.setup.memory_mb));
        // Inside an invocation the function's own time counts, as its start does.
        let in_invocation = self.current.as_ref().and_then(|invocation| invocation.deadline);
        self.alarm = Some(in_invocation.unwrap_or(self.init.began + self.setup.limits.init));
        let names: Vec<String> = self.setup.extensions.keys().cloned().collect();
        for name in names {
            self.start_process(Party::Extension(name));
        }
        self.start_runtime_if_registered();
    }

    pub(super) fn start_runtime_if_registered(&mut self) {
        let registered = self.agents.iter().filter(|agent| agent.external).count();
        let wanted = self.setup.extensions.len();
        if registered == wanted && !self.running.contains_key(&Party::Runtime) {
            self.start_process(Party::Runtime);
        }
    }

    /// Init ends when the runtime and every registered extension are in Next.
    pub(super) fn end_init_if_ready(&mut self) {
        let is_in_next = self.runtime.is_some() || self.managed.is_in_next();
        if !is_in_next || !self.agents.iter().all(|agent| agent.is_ready()) {
            return;
        }
        let events: Vec<_> = self
            .agents
            .iter()
            .map(|agent| platform::extension(&agent.name, &agent.events()))
            .collect();
        for event in events {
            self.telemetry.emit(event);
        }
        let took = self.init.began.elapsed();
        self.emit_init(platform::init_report(self.init.phase, took, None));
        self.telemetry.close_subscriptions();
        self.notes.write(What::InitEnded { succeeded: true });
        self.alarm = None;
        if self.current.is_some() {
            return self.begin_invocation();
        }
        self.init.unreported = Some(took);
        self.enter(Phase::Ready);
        self.next_invocation();
    }

    /// The environment did not come up; the next invocation tries again.
    pub(super) fn fail_init(&mut self, failure: FailureKind) {
        let status = Some((failure.status(), failure.error_type()));
        if self.runtime.is_none() {
            self.emit_init(platform::init_runtime_done(self.init.phase, status));
        }
        let took = self.init.began.elapsed();
        self.emit_init(platform::init_report(self.init.phase, took, status));
        self.notes.write(What::InitEnded { succeeded: false });
        if self.current.is_some() {
            let error_type = failure.error_type();
            return self.fail(error_type.map_or(FailureKind::Timeout, FailureKind::Init));
        }
        self.begin_reset(&failure);
    }

    /// Takes what waits, if the environment is free; else it sleeps.
    pub(super) fn next_invocation(&mut self) {
        let phase = self.phase();
        if !matches!(phase, Phase::Ready | Phase::Off) {
            return;
        }
        if self.is_managed() && phase == Phase::Ready {
            return self.hand_out();
        }
        let Some(mut invocation) = self.queue.pop_front() else {
            return if self.shutdown_asked {
                self.begin_shutdown();
            } else if phase == Phase::Ready {
                self.freeze(true);
            };
        };
        if phase == Phase::Off {
            let now = Instant::now();
            invocation.started = Some(now);
            invocation.deadline = Some(now + self.setup.limits.invocation);
            self.current = Some(invocation);
            return self.begin_init(InitPhase::Invoke);
        }
        self.freeze(false);
        self.restore_snapshot();
        self.current = Some(invocation);
        match self.broken.take() {
            Some(failure) => self.fail(failure),
            None => self.begin_invocation(),
        }
    }

    /// The environment is up: the event goes to the extensions and to the runtime.
    pub(super) fn begin_invocation(&mut self) {
        let Some(mut invocation) = self.current.take() else { return };
        let (next, event) = self.begin(&mut invocation);
        self.alarm = invocation.deadline;
        self.current = Some(invocation);
        self.enter(Phase::Invoking);
        for agent in self.agents.iter_mut().filter(|agent| agent.wants_invoke) {
            agent.send(event.clone());
        }
        if let Some(runtime) = self.runtime.take() {
            let _ = runtime.send(next);
        }
    }

    /// Starts the time of an invocation. Returns the answers of the runtime's Next and of an extension's.
    pub(super) fn begin(&mut self, invocation: &mut Invocation) -> (Answer, Value) {
        let now = Instant::now();
        invocation.started.get_or_insert(now);
        let deadline = *invocation.deadline.get_or_insert(now + self.setup.limits.invocation);
        invocation.tenant_id = self.setup.tenant_id.clone();
        let request_id = invocation.request_id.clone();
        let trace_header = invocation.trace_header.clone();
        let payload = invocation.payload.clone();
        self.telemetry.emit(platform::start(invocation));
        self.notes.write(What::InvokeStarted { request_id: request_id.clone() });

        let deadline_ms = epoch_ms(deadline - now);
        let arn = format!(
            "arn:aws:lambda:eu-central-1:123456789012:function:{}",
            self.setup.function_name
        );
        let mut event = json!({
            "eventType": "INVOKE", "deadlineMs": deadline_ms,
            "requestId": request_id, "invokedFunctionArn": arn,
        });
        let mut next = Answer::new(200, payload)
            .header("lambda-runtime-aws-request-id", &request_id)
            .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
            .header("lambda-runtime-invoked-function-arn", arn);
        if let Some(value) = trace_header {
            event["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": value });
            next = next.header("lambda-runtime-trace-id", value);
        }
        if let Some(tenant_id) = &self.setup.tenant_id {
            next = next.header("lambda-runtime-aws-tenant-id", tenant_id);
        }
        (next, event)
    }

    /// The first thaw of a snapshot is a restore. Its events say so; its processes get no event.
    fn restore_snapshot(&mut self) {
        if self.setup.initialization_type != "snap-start"
            || std::mem::replace(&mut self.restored, true)
        {
            return;
        }
        for event in platform::restore(&self.setup.function_name) {
            self.telemetry.emit(event);
        }
    }

    /// An invocation ends when the runtime and every extension that it woke are in Next.
    pub(super) fn end_invocation_if_done(&mut self) {
        let busy = |agent: &super::Agent| agent.wants_invoke && !agent.is_ready();
        let done = self.current.as_ref().is_some_and(|current| current.runtime_done.is_some());
        if !done || self.agents.iter().any(busy) {
            return;
        }
        self.report();
        self.current = None;
        self.alarm = None;
        self.enter(Phase::Ready);
        self.next_invocation();
    }

    /// Ends the present invocation without a reply (if it has none yet) and resets the environment.
    ///
    /// The report comes before the reset, so that a subscriber gets it in its SHUTDOWN at the latest.
    pub(super) fn fail(&mut self, failure: FailureKind) {
        let Some(invocation) = &mut self.current else { return };
        // A caller who has the reply keeps it; the platform records the failure all the same.
        invocation.failed = Some(failure.clone());
        invocation.answer(Err(failure.clone()));
        if invocation.runtime_done.is_none() {
            let done = platform::runtime_done(invocation, Instant::now());
            self.telemetry.emit(done);
        }
        self.report();
        self.current = None;
        self.begin_reset(&failure);
    }

    fn report(&mut self) {
        let Some(invocation) = &self.current else { return };
        let (now, init) = (Instant::now(), self.init.unreported.take());
        self.telemetry.emit(platform::report(invocation, now, init, self.setup.memory_mb));
        let status = invocation.failure().map_or("success", |(status, _)| status);
        let request_id = invocation.request_id.clone();
        self.notes.write(What::InvokeEnded { request_id, status });
    }
}

/// Milliseconds since the epoch, so far from now.
pub(super) fn epoch_ms(from_now: Duration) -> i64 {
    (Timestamp::now() + from_now).as_millisecond()
}
