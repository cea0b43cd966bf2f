//! The state machine of one execution environment: one task owns it, everybody else sends messages.
//!
//! `phases` says how environment and invocations begin and end, `stop` how they are torn down;
//! `runtime_api` and `extensions_api` answer the calls. All behaviour follows AWS's documentation
//! of the execution environment; where that is silent, Lambda's Runtime Interface Emulator.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

mod extensions_api;
pub(crate) mod invocation;
mod managed;
mod phases;
mod runtime_api;
mod stop;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

use self::extensions_api::Agent;
use self::invocation::Invocation;
use self::managed::Managed;
use self::stop::Stop;
use super::Setup;
use super::journal::{Entry, Exit, Party, What};
use super::platform::{self, InitPhase};
use super::process::{self, Running};
use super::reply::{FailureKind, Outcome};
use super::routes::{Answer, BodyFault};
use super::telemetry::Telemetry;
use crate::event::Event;
use crate::record::Record;

/// A call of one of the APIs.
pub(crate) enum Call {
    RuntimeNext,
    RuntimeResponse {
        request_id: String,
        streamed: bool,
        body: Result<Bytes, BodyFault>,
        began: Instant,
    },
    RuntimeError {
        request_id: String,
        error_type: Option<String>,
        body: Value,
    },
    RuntimeInitError {
        error_type: Option<String>,
    },
    Register {
        name: Option<String>,
        account_id: bool,
        body: Bytes,
    },
    ExtensionNext {
        identifier: Option<String>,
    },
    ExtensionError {
        identifier: Option<String>,
        error_type: Option<String>,
        in_init: bool,
    },
    Subscribe {
        identifier: Option<String>,
        body: Bytes,
    },
}

/// What the machine is told.
pub(crate) enum Message {
    /// By a process, over HTTP.
    Call(Call, oneshot::Sender<Answer>),
    /// A line of a process's output.
    Line {
        party: Party,
        text: String,
    },
    /// A process of the given start has ended, and all its lines have been sent.
    Exited {
        party: Party,
        generation: u64,
        exit: Exit,
    },
    /// By the test.
    Invoke(Event, oneshot::Sender<Outcome>),
    Shutdown,
    Signal(Party, Signal),
    OutOfMemory,
    Pid(Party, oneshot::Sender<Option<i32>>),
}

/// Where an execution environment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No process: after a failed init or a reset. The next invocation starts them.
    Off,
    /// Processes start.
    Init,
    /// All are in Next; frozen, if freezing is on.
    Ready,
    /// An invocation runs.
    Invoking,
    /// Processes are being ended after a failure.
    Resetting,
    /// Processes are being ended for good.
    Shutdown,
    /// They have ended for good.
    Over,
}

/// What the machine writes down for the test: shared by it and its telemetry tasks.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    pub(crate) journal: Record<Entry>,
    pub(crate) function_log: Record<String>,
    pub(crate) extension_log: Record<String>,
}

impl Notes {
    pub(crate) fn write(&self, what: What) {
        self.journal.push(Entry { at: Instant::now(), what });
    }
}

/// A Next that waits for its event.
type Waiting = Option<oneshot::Sender<Answer>>;

/// See the module's text.
pub(crate) struct Machine {
    setup: Setup,
    api: SocketAddr,
    notes: Notes,
    telemetry: Telemetry,
    phase: watch::Sender<Phase>,
    /// When to act if nothing happens; what that means depends on the phase.
    alarm: Option<Instant>,
    /// Counts the starts, so that the end of a former process is not taken for a present one's.
    generation: u64,
    running: BTreeMap<Party, Running>,
    runtime: Waiting,
    agents: Vec<Agent>,
    init: InitClock,
    queue: VecDeque<Invocation>,
    current: Option<Invocation>,
    managed: Managed,
    /// Whether the snapshot was restored.
    restored: bool,
    /// A process that ended while all slept: found out at the next invocation, as in Lambda.
    broken: Option<FailureKind>,
    /// The runtime is being killed since it took too much.
    out_of_memory: bool,
    frozen: bool,
    stop: Option<Stop>,
    shutdown_asked: bool,
    messages: mpsc::UnboundedSender<Message>,
}

/// The present or last init.
struct InitClock {
    began: Instant,
    phase: InitPhase,
    /// Of a successful first init, until the first report has told it.
    unreported: Option<Duration>,
}

/// A started machine: aborting the task ends its processes.
pub(crate) struct Started {
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) task: AbortHandle,
}

/// Starts a machine; its first init begins at once.
pub(crate) fn start(
    setup: Setup,
    api: SocketAddr,
    notes: Notes,
    (messages, inbox): (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>),
) -> Started {
    let (phase, phases) = watch::channel(Phase::Init);
    let init = InitClock { began: Instant::now(), phase: InitPhase::Init, unreported: None };
    let mut machine = Machine {
        setup,
        api,
        telemetry: Telemetry::new(notes.clone()),
        notes,
        phase,
        alarm: None,
        generation: 0,
        running: BTreeMap::new(),
        runtime: None,
        agents: Vec::new(),
        init,
        queue: VecDeque::new(),
        current: None,
        managed: Managed::default(),
        restored: false,
        broken: None,
        out_of_memory: false,
        frozen: false,
        stop: None,
        shutdown_asked: false,
        messages,
    };
    machine.begin_init(InitPhase::Init);
    let task = tokio::spawn(machine.run(inbox)).abort_handle();
    Started { phase: phases, task }
}

impl Machine {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        loop {
            let alarm = self.alarm;
            let alarm = async move {
                match alarm {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = alarm => {
                    self.alarm = None;
                    self.on_alarm();
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Call(call, answer) => self.answer(call, answer),
            Message::Line { party, text } => self.on_line(&party, text),
            Message::Exited { party, generation, exit } => {
                if generation == self.generation {
                    self.on_exit(party, exit);
                }
            }
            Message::Invoke(event, client) => {
                self.queue.push_back(Invocation::new(event, client));
                self.next_invocation();
            }
            Message::Shutdown => {
                self.shutdown_asked = true;
                self.next_invocation();
            }
            Message::Signal(party, signal) => self.signal(&party, signal),
            Message::OutOfMemory => {
                self.out_of_memory = true;
                self.signal(&Party::Runtime, Signal::SIGKILL);
            }
            Message::Pid(party, answer) => {
                let _ = answer.send(self.running.get(&party).and_then(Running::pid));
            }
        }
    }

    fn answer(&mut self, call: Call, answer: oneshot::Sender<Answer>) {
        let now = match call {
            // These two wait for an event.
            Call::RuntimeNext => return self.runtime_next(answer),
            Call::ExtensionNext { identifier } => return self.extension_next(identifier, answer),
            Call::RuntimeResponse { request_id, streamed, body, began } => {
                self.runtime_response(request_id, streamed, body, began)
            }
            Call::RuntimeError { request_id, error_type, body } => {
                self.runtime_error(request_id, error_type, body)
            }
            Call::RuntimeInitError { error_type } => self.runtime_init_error(error_type),
            Call::Register { name, account_id, body } => self.register(name, account_id, &body),
            Call::ExtensionError { identifier, error_type, in_init } => {
                self.extension_error(identifier, error_type, in_init)
            }
            Call::Subscribe { identifier, body } => self.subscribe(identifier, &body),
        };
        let _ = answer.send(now);
    }

    fn on_line(&mut self, party: &Party, text: String) {
        let (log, event_type) = match party {
            Party::Runtime => (&self.notes.function_log, "function"),
            Party::Extension(_) => (&self.notes.extension_log, "extension"),
        };
        self.telemetry.emit(platform::log_line(event_type, &text));
        log.push(text);
    }

    fn on_alarm(&mut self) {
        match self.phase() {
            Phase::Init => self.fail_init(FailureKind::Timeout),
            Phase::Invoking => self.fail(FailureKind::Timeout),
            Phase::Resetting | Phase::Shutdown => self.on_stop_alarm(),
            Phase::Off | Phase::Ready | Phase::Over => {}
        }
    }

    fn on_exit(&mut self, party: Party, exit: Exit) {
        if let Some(running) = self.running.remove(&party) {
            running.ended();
        }
        let failure = match &party {
            Party::Runtime if std::mem::take(&mut self.out_of_memory) => FailureKind::OutOfMemory,
            Party::Runtime => FailureKind::RuntimeExit,
            Party::Extension(_) => FailureKind::ExtensionCrash,
        };
        self.notes.write(What::Exited(party, exit));
        match self.phase() {
            Phase::Init => self.fail_init(failure),
            Phase::Ready => self.broken = self.broken.take().or(Some(failure)),
            Phase::Invoking => self.fail(failure),
            Phase::Resetting | Phase::Shutdown => self.go_on_stopping(),
            Phase::Off | Phase::Over => {}
        }
    }

    /// Emits an event of init with the initialization type of this environment.
    fn emit_init(&mut self, mut event: Value) {
        event["record"]["initializationType"] = self.setup.initialization_type.into();
        self.telemetry.emit(event);
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn enter(&mut self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    fn start_process(&mut self, party: Party) {
        let Setup { function_name, customer, memory_mb, initialization_type, .. } = &self.setup;
        let (program, variables) = match &party {
            Party::Runtime => {
                let variables = super::environment::of_function;
                (
                    Some(&self.setup.function),
                    variables(function_name, *memory_mb, self.api, customer),
                )
            }
            Party::Extension(name) => {
                let variables = super::environment::of_extension;
                (
                    self.setup.extensions.get(name),
                    variables(function_name, *memory_mb, self.api, customer),
                )
            }
        };
        let Some(program) = program else { return };
        let mut variables = variables;
        let kind = ("AWS_LAMBDA_INITIALIZATION_TYPE", (*initialization_type).to_owned());
        let concurrency =
            self.setup.concurrency.map(|it| ("AWS_LAMBDA_MAX_CONCURRENCY", it.to_string()));
        variables
            .extend([kind].into_iter().chain(concurrency).map(|(key, it)| (key.to_owned(), it)));
        let messages = self.messages.clone();
        let running = process::start(program, party.clone(), variables, self.generation, messages);
        self.notes.write(What::Started(party.clone()));
        self.running.insert(party, running);
    }

    fn signal(&self, party: &Party, signal: Signal) {
        if let Some(running) = self.running.get(party) {
            running.signal(signal);
            self.notes.write(What::Signalled(party.clone(), signal.as_str()));
        }
    }

    /// Stops all processes where they are, or lets them go on.
    fn freeze(&mut self, frozen: bool) {
        self.telemetry.sleep(frozen);
        if !self.setup.freezing || self.frozen == frozen {
            return;
        }
        self.frozen = frozen;
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        for network in &self.setup.networks {
            network.send_replace(frozen);
        }
        for running in self.running.values() {
            running.signal(signal);
        }
        self.notes.write(if frozen { What::Frozen } else { What::Thawed });
    }
}
