//! The extension as a person starts it: beside an emulator, in a real terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

use cruddur_tests::{Honeycomb, binaries, http_client::post, otlp};
use nix::pty::openpty;

use crate::replay::line_of;

/// The extension with a pseudo terminal as its output, listening on an address of its own.
struct InTerminal {
    process: Child,
    screen: File,
    url: String,
}

impl InTerminal {
    fn start(listen: &str) -> Self {
        let spool = tempfile::tempdir().expect("a directory");
        let terminal = openpty(None, None).expect("a pseudo terminal");
        let output = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        let process = Command::new(binaries().path("cruddur-telemetry"))
            .env_clear()
            .env("CRUDDUR_OTLP_LISTEN", listen)
            .env("CRUDDUR_OTLP_GRPC_LISTEN", "off")
            .env("CRUDDUR_SPOOL_DIR", spool.path())
            .env("CRUDDUR_LOG", "info")
            .stdin(Stdio::null())
            .stdout(output(&terminal.slave))
            .stderr(output(&terminal.slave))
            .spawn()
            .expect("the extension starts");
        Self { process, screen: terminal.master.into(), url: format!("http://{listen}") }
    }

    /// What the screen shows, once it shows `text`.
    fn shows(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let seen = String::from_utf8_lossy(&shown).into_owned();
            if seen.contains(text) {
                return seen;
            }
            match self.screen.read(&mut chunk) {
                Ok(bytes) if bytes > 0 => shown.extend(&chunk[..bytes]),
                _ => panic!("the terminal was closed, it showed: {seen}"),
            }
        }
    }
}

impl Drop for InTerminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn replay_shows_in_the_terminal_how_much_was_delivered() {
    let honeycomb = Honeycomb::start().await;
    let terminal = openpty(None, None).expect("a pseudo terminal");
    let mut process = Command::new(binaries().path("cruddur-telemetry"))
        .arg("replay")
        .env_clear()
        .env("HONEYCOMB_API_KEY", honeycomb.key())
        .env("HONEYCOMB_API_ENDPOINT", honeycomb.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::from(terminal.slave))
        .spawn()
        .expect("it starts");
    let line = line_of("honeycomb", 3).1;
    let mut log = process.stdin.take().expect("a pipe");
    log.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    let mut replay =
        InTerminal { process, screen: File::from(terminal.master), url: honeycomb.url() };

    // The log goes on, as that of `aws logs tail --follow` does: the pipe is open.
    let shown = tokio::task::spawn_blocking(move || replay.shows("3 delivered"));

    let shown = shown.await.expect("a line of progress");
    assert!(shown.contains("read, 1 line, "), "{shown}");
    drop(log);
}

#[tokio::test]
async fn a_trace_is_drawn_in_the_terminal_in_which_the_extension_was_started() {
    let mut extension = InTerminal::start("127.77.0.1:4318");
    let url = format!("{}/v1/traces", extension.url);
    let mut extension = tokio::task::spawn_blocking(move || {
        extension.shows("127.77.0.1:4318");
        extension
    })
    .await
    .expect("it says where it listens");

    let headers = [("content-type", "application/x-protobuf")];
    let reply = post(&url, &headers, otlp::request(&["a drawn span"])).await.expect("an answer");

    assert_eq!(reply.status, 200);
    let screen =
        tokio::task::spawn_blocking(move || extension.shows("▏")).await.expect("a drawing");
    assert!(screen.contains("a drawn span"), "{screen}");
}
