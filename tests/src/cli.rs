//! The extension's command line, as a person uses it: arguments, variables and a pipe in, two
//! streams and a code out.

use std::ffi::OsStr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::binaries::binaries;
use crate::honeycomb::Honeycomb;
use crate::moto;
use crate::sandbox::environment::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN};

/// A command line, to be [`run`](Cli::run). It inherits no variables.
pub struct Cli {
    command: Command,
    input: Box<dyn Iterator<Item = Vec<u8>> + Send>,
}

/// What it came to.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// `cruddur-telemetry` with these arguments.
    pub fn new(arguments: &[&str]) -> Cli {
        Cli::start_as(binaries().path("cruddur-telemetry").as_os_str(), arguments)
    }

    /// The same, where it may not have more than so much memory, counted as addresses.
    pub fn with_memory(kilobytes: u32, arguments: &[&str]) -> Cli {
        let script = format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\"");
        let program = binaries().path("cruddur-telemetry");
        let program = program.to_str().expect("a path of text");
        let cli =
            Cli::start_as(OsStr::new("/bin/sh"), &[&["-c", &script, program], arguments].concat());
        // Each arena would reserve far more addresses than it uses.
        cli.env("MALLOC_ARENA_MAX", "1")
    }

    fn start_as(program: &OsStr, arguments: &[&str]) -> Cli {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Cli { command, input: Box::new(std::iter::empty()) }
    }

    /// A variable.
    pub fn env(self, name: &str, value: &str) -> Cli {
        self.env_of_bytes(name, value.as_ref())
    }

    /// A variable that need not be text.
    pub fn env_of_bytes(mut self, name: &str, value: &OsStr) -> Cli {
        self.command.env(name, value);
        self
    }

    /// Points it at this destination, with the right key.
    pub fn honeycomb(self, honeycomb: &Honeycomb) -> Cli {
        self.env("HONEYCOMB_API_KEY", honeycomb.key())
            .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
    }

    /// Points it at moto instead of AWS, with the sandbox's region and credentials.
    pub fn aws(self) -> Cli {
        self.env("AWS_ENDPOINT_URL", moto::url())
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_SESSION_TOKEN", SESSION_TOKEN)
    }

    /// What comes in by standard input; nothing by default.
    pub fn input(self, input: impl Into<Vec<u8>>) -> Cli {
        self.long_input(std::iter::once(input.into()))
    }

    /// The same, made while it is read.
    pub fn long_input(mut self, input: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Cli {
        self.input = Box::new(input);
        self
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Printed {
        let mut process = self.command.spawn().expect("the command starts");
        let mut pipe = process.stdin.take().expect("a pipe");
        // In a separate task: it may print before it has read all.
        let writer = tokio::spawn(async move {
            for piece in self.input {
                // It may also leave before that.
                if pipe.write_all(&piece).await.is_err() {
                    return;
                }
            }
        });
        let output = process.wait_with_output().await.expect("an end");
        writer.await.expect("no panic");
        Printed {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Printed {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}
