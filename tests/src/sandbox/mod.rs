//! A Lambda execution environment for one function: the real programs between real APIs.
//!
//! `builder` describes it, `machine` is its state, `routes` are the three APIs, `process` and
//! `telemetry` its two kinds of far end, `environment` and `platform` what Lambda would say,
//! `reply` and `journal` what a test looks at.

mod builder;
pub(crate) mod environment;
mod journal;
mod machine;
mod platform;
mod process;
mod reply;
mod routes;
mod telemetry;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub(crate) use self::builder::Setup;
pub use self::builder::{Builder, EXTENSION};
pub use self::journal::{Entry, Exit, Journal, Party, What};
pub use self::machine::Phase;
use self::machine::{Message, Notes};
pub use self::process::{Program, TaskProgram};
pub use self::reply::{FailureKind, InvokeError, Outcome, Reply};
use crate::event::Event;
use crate::record::PATIENCE;

/// A running environment. Dropping it kills its processes; in a failing test it tells its story first.
pub struct Sandbox {
    messages: mpsc::UnboundedSender<Message>,
    phase: watch::Receiver<Phase>,
    notes: Notes,
    directory: TempDir,
    api: SocketAddr,
    otlp: SocketAddr,
    tasks: [AbortHandle; 2],
}

/// How an environment ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// From the request to the last process's end.
    pub took: Duration,
    /// The function's process; `None` if there was none any more.
    pub function: Option<Exit>,
    /// The extension [`EXTENSION`]; `None` if there was none any more.
    pub extension: Option<Exit>,
}

impl Sandbox {
    /// An environment for this function, with the extension [`EXTENSION`].
    pub fn builder(function_name: &str) -> Builder {
        Builder::new(function_name)
    }

    /// Invokes the function; panics with all logs if there is no reply.
    pub async fn invoke(&self, event: Event) -> Reply {
        match self.try_invoke(event).await {
            Ok(reply) => reply,
            Err(error) => panic!("no reply: {:?}\n{}", error.kind, self.story()),
        }
    }

    /// Invokes the function. Returns as soon as the reply is there, whatever the processes still do.
    ///
    /// Invocations run one after the other, in the order of the calls.
    pub async fn try_invoke(&self, event: Event) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let _ = self.messages.send(Message::Invoke(event, answer));
        outcome.await.expect("the machine answers each invocation")
    }

    /// Waits until an invocation has ended for everybody, report included.
    pub async fn ended(&self, request_id: &str) {
        let ended = |what: &What| matches!(what, What::InvokeEnded { request_id: id, .. } if id == request_id);
        self.happens("the end of the invocation", ended).await;
    }

    /// Waits until something is in the journal; panics with all logs if it does not come.
    pub async fn happens(&self, name: &str, wanted: impl Fn(&What) -> bool) -> Entry {
        let find = |entries: &[Entry]| entries.iter().find(|entry| wanted(&entry.what)).cloned();
        let found = self.notes.journal.find(find).await;
        found.unwrap_or_else(|| panic!("{name} did not happen\n{}", self.story()))
    }

    /// Waits until the environment is in this phase.
    pub async fn reaches(&self, wanted: Phase) {
        self.phase_after(|phase| phase == wanted).await;
    }

    async fn phase_after(&self, wanted: impl Fn(Phase) -> bool) -> Phase {
        let mut phase = self.phase.clone();
        let found = timeout(2 * PATIENCE, phase.wait_for(|phase| wanted(*phase))).await;
        match found {
            Ok(Ok(phase)) => *phase,
            _ => panic!("the environment did not come so far\n{}", self.story()),
        }
    }

    /// Ends the environment as Lambda does when it is no longer needed; waits for the last process.
    pub async fn shutdown(&self) -> Ended {
        // What is not running has ended before, and not by this shutdown.
        let function = self.pid(Party::Runtime).await;
        let extension = self.pid(Party::Extension(EXTENSION.to_owned())).await;
        let asked = Instant::now();
        let _ = self.messages.send(Message::Shutdown);
        self.reaches(Phase::Over).await;
        let journal = self.journal();
        Ended {
            took: asked.elapsed(),
            function: function.and_then(|_| journal.exit(&Party::Runtime)),
            extension: extension
                .and_then(|_| journal.exit(&Party::Extension(EXTENSION.to_owned()))),
        }
    }

    /// SIGKILL for the extension's whole process group.
    pub fn kill_extension(&self) {
        self.kill(Party::Extension(EXTENSION.to_owned()));
    }

    /// SIGKILL for the function's whole process group.
    pub fn kill_function(&self) {
        self.kill(Party::Runtime);
    }

    /// The same, as the kernel does it when memory runs out; the platform says so.
    pub fn exhaust_memory(&self) {
        let _ = self.messages.send(Message::OutOfMemory);
    }

    fn kill(&self, party: Party) {
        let _ = self.messages.send(Message::Signal(party, Signal::SIGKILL));
    }

    /// Stops the function's process where it is, as if it hung. Needs freezing to be off.
    pub fn stall_function(&self) {
        let _ = self.messages.send(Message::Signal(Party::Runtime, Signal::SIGSTOP));
    }

    /// Waits until every thread of a process has stopped, as it is when frozen.
    pub async fn stands_still(&self, party: Party) {
        let pid = self.pid(party).await.expect("a process");
        // The kernel tells nobody but the parent's `wait`, which is taken: hence the looking.
        let stopped = async {
            let stat = format!("/proc/{pid}/stat");
            while !std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(PATIENCE, stopped).await.is_err() {
            panic!("process {pid} goes on\n{}", self.story());
        }
    }

    /// A running process's id, the same as its group's.
    pub async fn pid(&self, party: Party) -> Option<i32> {
        let (answer, pid) = oneshot::channel();
        let _ = self.messages.send(Message::Pid(party, answer));
        pid.await.ok().flatten()
    }

    /// The extension's process is there (frozen or not).
    pub async fn extension_is_alive(&self) -> bool {
        self.pid(Party::Extension(EXTENSION.to_owned())).await.is_some()
    }

    /// Everything that happened so far.
    pub fn journal(&self) -> Journal {
        Journal(self.notes.journal.all())
    }

    /// The function's output so far, standard output and error, line by line.
    ///
    /// Output is read while a test goes on: complete only after [`Sandbox::shutdown`].
    pub fn function_log_lines(&self) -> Vec<String> {
        self.notes.function_log.all()
    }

    /// The extensions' output so far; see [`Sandbox::function_log_lines`].
    pub fn extension_log_lines(&self) -> Vec<String> {
        self.notes.extension_log.all()
    }

    /// Waits for a line of the function with this in it.
    pub async fn function_log_line(&self, wanted: &str) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(wanted)).cloned();
        let found = self.notes.function_log.find(find).await;
        found.unwrap_or_else(|| panic!("the function did not log {wanted:?}\n{}", self.story()))
    }

    /// The same, read as JSON.
    pub async fn function_log(&self, wanted: &str) -> serde_json::Value {
        let line = self.function_log_line(wanted).await;
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    }

    /// Where the three APIs are, as in `AWS_LAMBDA_RUNTIME_API`.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where the extension listens for OTLP.
    pub fn otlp_url(&self) -> String {
        format!("http://{}", self.otlp)
    }

    /// Where the extension listens for OTLP/gRPC.
    pub fn otlp_grpc_address(&self) -> SocketAddr {
        builder::grpc_address(self.otlp)
    }

    /// The directory that is `/tmp` to the processes (`TMPDIR`); it outlives them.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Journal and logs, for a failure's message.
    pub fn story(&self) -> String {
        format!(
            "--- journal\n{:?}--- function\n{}\n--- extensions\n{}\n",
            self.journal(),
            self.function_log_lines().join("\n"),
            self.extension_log_lines().join("\n"),
        )
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}
