//! Lambda Managed Instances, as our model has them: one environment runs several invocations at once.
//!
//! It is never frozen, sends no INVOKE and no `platform.runtimeDone`, and stays in the phase `Ready`. Each
//! Next of the runtime takes one invocation. A report follows the response.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html>

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use tokio::sync::oneshot;

use super::invocation::Invocation;
use super::{Machine, Phase};
use crate::sandbox::journal::What;
use crate::sandbox::platform;
use crate::sandbox::routes::Answer;

/// What runs, and which workers of the runtime are free.
#[derive(Default)]
pub(super) struct Managed {
    idle: VecDeque<oneshot::Sender<Answer>>,
    running: BTreeMap<String, Invocation>,
}

impl Managed {
    pub(super) fn is_in_next(&self) -> bool {
        !self.idle.is_empty()
    }
}

impl Machine {
    pub(super) fn is_managed(&self) -> bool {
        self.setup.concurrency.is_some()
    }

    /// A worker of the runtime is free.
    pub(super) fn managed_next(&mut self, answer: oneshot::Sender<Answer>) {
        self.managed.idle.push_back(answer);
        match self.phase() {
            Phase::Init => {
                if self.managed.idle.len() == 1 {
                    self.emit_init(platform::init_runtime_done(self.init.phase, None));
                }
                self.end_init_if_ready();
            }
            _ => self.hand_out(),
        }
    }

    /// Gives waiting invocations to free workers.
    pub(super) fn hand_out(&mut self) {
        while !self.queue.is_empty() {
            let Some(worker) = self.managed.idle.pop_front() else { return };
            let Some(mut invocation) = self.queue.pop_front() else { return };
            let next = self.begin(&mut invocation).0;
            self.managed.running.insert(invocation.request_id.clone(), invocation);
            let _ = worker.send(next);
        }
        if self.shutdown_asked && self.managed.running.is_empty() {
            self.begin_shutdown();
        }
    }

    /// Changes the invocation that the runtime answers, and reports it.
    pub(super) fn managed_answer(
        &mut self,
        request_id: &str,
        take: impl FnOnce(&mut Invocation) -> Answer,
    ) -> Answer {
        let Some(mut invocation) = self.managed.running.remove(request_id) else {
            return Answer::error(400, "InvalidRequestID", "Invalid request ID");
        };
        let answer = take(&mut invocation);
        self.telemetry.emit(platform::managed_report(&invocation, Instant::now()));
        let status = invocation.failure().map_or("success", |(status, _)| status);
        self.notes.write(What::InvokeEnded { request_id: request_id.to_owned(), status });
        self.hand_out();
        answer
    }
}
