//! The extension's command line, as a person uses it: arguments, variables and a pipe in, two
//! streams and a code out.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::binaries::binaries;
use crate::honeycomb::Honeycomb;

/// A command line, to be [`run`](Cli::run). It inherits no variables.
pub struct Cli {
    command: Command,
    input: Vec<u8>,
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
        let mut command = Command::new(binaries().path("cruddur-telemetry"));
        command.args(arguments).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Cli { command, input: Vec::new() }
    }

    /// A variable.
    pub fn env(mut self, name: &str, value: &str) -> Cli {
        self.command.env(name, value);
        self
    }

    /// Points it at this destination, with the right key.
    pub fn honeycomb(self, honeycomb: &Honeycomb) -> Cli {
        self.env("HONEYCOMB_API_KEY", honeycomb.key())
            .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
    }

    /// What comes in by standard input; nothing by default.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Cli {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Printed {
        let mut process = self.command.spawn().expect("the command starts");
        let mut pipe = process.stdin.take().expect("a pipe");
        // In a task of its own: it may print before it has read all.
        let input = std::mem::take(&mut self.input);
        let writer = tokio::spawn(async move {
            // It may also leave before that.
            let _ = pipe.write_all(&input).await;
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
