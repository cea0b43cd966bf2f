//! Child processes: each in a group of its own, its output read line by line, its end reported.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::journal::{Exit, Party};
use super::machine::Message;

type Variables = BTreeMap<String, String>;
type Task = Arc<dyn Fn(Variables) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What runs in the place of a function or an extension.
#[derive(Clone)]
pub enum Program {
    /// An executable.
    Binary(PathBuf),
    /// A task of the test that talks to the APIs as a process would: for tests of the sandbox itself.
    Task(TaskProgram),
}

/// See [`Program::task`].
#[derive(Clone)]
pub struct TaskProgram(Task);

impl Program {
    /// Runs `start` with the variables of its environment; killing it aborts it, freezing does nothing.
    pub fn task<F, R>(start: F) -> Program
    where
        F: Fn(BTreeMap<String, String>) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Program::Task(TaskProgram(Arc::new(move |variables| Box::pin(start(variables)))))
    }
}

/// A started program, killed when dropped before its end.
pub(crate) struct Running(Option<Target>);

enum Target {
    Process(Pid),
    Task(AbortHandle),
}

impl Running {
    /// The process; none for a task.
    pub(crate) fn pid(&self) -> Option<i32> {
        match self.0 {
            Some(Target::Process(pid)) => Some(pid.as_raw()),
            _ => None,
        }
    }

    /// Sends a signal to the whole group; a task knows only the deadly ones.
    pub(crate) fn signal(&self, signal: Signal) {
        match &self.0 {
            // An error says that the group has just ended; its `Exited` is on the way.
            Some(Target::Process(pid)) => drop(killpg(*pid, signal)),
            Some(Target::Task(task)) if matches!(signal, Signal::SIGKILL | Signal::SIGTERM) => {
                task.abort();
            }
            _ => {}
        }
    }

    /// It ended by itself: its process id may belong to somebody else by now.
    pub(crate) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Starts a program; its lines and its end come as messages that carry `generation`.
pub(crate) fn start(
    program: &Program,
    party: Party,
    variables: Variables,
    generation: u64,
    messages: UnboundedSender<Message>,
) -> Running {
    match program {
        Program::Binary(path) => {
            let child = spawn(path, &variables);
            let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
            let pid = Pid::from_raw(pid.expect("a process that was not waited for has an id"));
            tokio::spawn(watch(child, pid, party, generation, messages));
            Running(Some(Target::Process(pid)))
        }
        Program::Task(TaskProgram(start)) => {
            let task = tokio::spawn(start(variables));
            let handle = task.abort_handle();
            tokio::spawn(async move {
                let exit = match task.await {
                    Ok(()) => Exit::Code(0),
                    Err(_) => Exit::Signal(Signal::SIGKILL as i32),
                };
                let _ = messages.send(Message::Exited { party, generation, exit });
            });
            Running(Some(Target::Task(handle)))
        }
    }
}

fn spawn(path: &PathBuf, variables: &Variables) -> Child {
    let mut command = Command::new(path);
    command.env_clear().envs(variables).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: prctl is async-signal-safe, and nothing else runs between fork and exec.
    unsafe {
        // A test that is itself killed must not leave stopped processes behind.
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    command.spawn().unwrap_or_else(|problem| panic!("{} does not start: {problem}", path.display()))
}

async fn watch(
    mut child: Child,
    group: Pid,
    party: Party,
    generation: u64,
    messages: UnboundedSender<Message>,
) {
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let stdout = tokio::spawn(read_lines(stdout, party.clone(), messages.clone()));
    let stderr = tokio::spawn(read_lines(stderr, party.clone(), messages.clone()));
    let exit = child.wait().await.map_or(Exit::Code(-1), exit_of);
    // Whatever it started goes with it; only then do the pipes end.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = tokio::join!(stdout, stderr);
    // After the last line: who waits for the end has all lines.
    let _ = messages.send(Message::Exited { party, generation, exit });
}

async fn read_lines(
    pipe: impl AsyncRead + Unpin,
    party: Party,
    messages: UnboundedSender<Message>,
) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|bytes| bytes > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        let _ = messages.send(Message::Line { party: party.clone(), text });
        line.clear();
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap_or_default()),
    }
}
