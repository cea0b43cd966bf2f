//! The extension as a person starts it: beside an emulator, in a real terminal.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::Duration,
};

use cruddur_tests::{
    Event, Honeycomb, Reply, Sandbox, binaries, event, eventually, http_client, otlp,
};
use nix::pty::{Winsize, openpty};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use crate::replay::line_of;

/// The extension with a pseudo terminal as its output. Each test has another address.
struct InTerminal {
    process: Child,
    screen: File,
    url: String,
}

impl InTerminal {
    fn start(listen: &str, console: &str, columns: u16) -> Self {
        let spool = tempfile::tempdir().expect("a directory");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).expect("a pseudo terminal");
        let output = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        let process = Command::new(binaries().path("cruddur-telemetry"))
            .env_clear()
            .env("CRUDDUR_OTLP_LISTEN", listen)
            .env("CRUDDUR_OTLP_GRPC_LISTEN", "off")
            .env("CRUDDUR_SPOOL_DIR", spool.path())
            .env("CRUDDUR_CONSOLE", console)
            .env("TERM", "xterm-256color")
            .env("CRUDDUR_LOG", "info")
            .stdin(Stdio::null())
            .stdout(output(&terminal.slave))
            .stderr(output(&terminal.slave))
            .spawn()
            .expect("the extension starts");
        Self { process, screen: terminal.master.into(), url: format!("http://{listen}") }
    }

    async fn listening(listen: &'static str, console: &str, columns: u16) -> Self {
        let mut extension = Self::start(listen, console, columns);
        let listening = tokio::task::spawn_blocking(move || {
            extension.shows(listen);
            extension
        });
        listening.await.expect("it shows where it listens")
    }

    /// Further output of the process.
    fn chunks(&self) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        let mut screen = self.screen.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(bytes) = screen.read(&mut chunk)
                && bytes > 0
                && sender.send(String::from_utf8_lossy(&chunk[..bytes]).into_owned()).is_ok()
            {
            }
        });
        receiver
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
    let mut extension = InTerminal::listening("127.77.0.1:4318", "waterfall", 80).await;
    let url = format!("{}/v1/traces", extension.url);

    let headers = [("content-type", "application/x-protobuf")];
    let reply = http_client::post(&url, &headers, otlp::request(&["a drawn span"]))
        .await
        .expect("an answer");

    assert_eq!(reply.status, 200);
    let screen =
        tokio::task::spawn_blocking(move || extension.shows("▏")).await.expect("a drawing");
    assert!(screen.contains("a drawn span"), "{screen}");
}

/// A function that sends spans and log lines as in the local run.
async fn home_activities(url: &str) -> Sandbox {
    Sandbox::builder("home-activities")
        .without_extension()
        .otlp_endpoint(url)
        .env("OTEL_LOGS_EXPORTER", "otlp")
        .demo_store()
        .start()
        .await
}

/// The last digits of a reply's trace id, by which its row ends.
fn short_id(reply: &Reply) -> String {
    let traceparent = reply.headers.get("traceparent").expect("a reply names its trace");
    let id = traceparent.split('-').nth(1).expect("an id");
    id[id.len() - 8..].to_owned()
}

/// Invokes the function until the screen shows `text`, and returns the reply of that request. On a busy machine the function gives up the
/// sending of spans after a few milliseconds, and pauses for 10 s.
async fn invoke_until(
    sandbox: &Sandbox,
    event: impl Fn() -> Event,
    (chunks, shown): (&mut UnboundedReceiver<String>, &mut String),
    text: &str,
) -> Reply {
    for _ in 0..10 {
        let reply = sandbox.invoke(event()).await;
        let shows = async {
            while !shown.contains(text) {
                shown.push_str(&chunks.recv().await.expect("the extension runs"));
            }
        };
        if timeout(Duration::from_secs(3), shows).await.is_ok() {
            return reply;
        }
    }
    panic!("no row with {text}: {shown}");
}

#[tokio::test]
async fn a_request_is_a_row_of_the_terminal_and_a_panic_at_most_eight() {
    for (listen, columns) in [("127.77.0.2:4318", 80), ("127.77.0.3:4318", 40)] {
        let extension = InTerminal::listening(listen, "line", columns).await;
        let sandbox = home_activities(&extension.url).await;
        let (mut chunks, mut screen) = (extension.chunks(), String::new());

        let fine = || event("home-activities");
        invoke_until(&sandbox, fine, (&mut chunks, &mut screen), " 200").await;
        let panic = || event("home-activities").header("x-cruddur-fault", "panic");
        invoke_until(&sandbox, panic, (&mut chunks, &mut screen), " 500").await;
        let refused = || event("home-activities").method("PUT");
        invoke_until(&sandbox, refused, (&mut chunks, &mut screen), " 405").await;

        assert!(screen.contains("\x1b[32m") && screen.contains("\x1b[1m\x1b[31m"), "{screen:?}");
        let screen = without_colours(&screen);
        let rows: Vec<_> = screen.lines().collect();
        let of_request = |status: &str| {
            let start = rows.iter().position(|row| row.contains(status)).expect(status);
            let is_request = |row: &&str| row.starts_with(|char: char| char.is_ascii_digit());
            let next = rows[start + 1..].iter().position(is_request);
            &rows[start..next.map_or(rows.len(), |next| start + 1 + next)]
        };
        assert_eq!(of_request(" 200").len(), 1, "{screen}");
        let failed = of_request(" 500");
        assert!(failed.len() <= 8, "{screen}");
        assert!(failed[1].contains("Panic: the handler panicked"), "{screen}");
        assert!(failed[2].contains("functions/src/runtime/faults.rs:"), "{screen}");
        for row in rows {
            assert!(row.chars().count() <= columns.into(), "{columns}: {row}");
        }
    }
}

#[tokio::test]
async fn in_a_pipe_a_request_is_one_line_without_colours() {
    let spool = tempfile::tempdir().expect("a directory");
    let listen = "127.77.0.4:4318";
    let mut process = Command::new(binaries().path("cruddur-telemetry"))
        .env_clear()
        .env("CRUDDUR_OTLP_LISTEN", listen)
        .env("CRUDDUR_SPOOL_DIR", spool.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the extension starts");
    let url = format!("http://{listen}");
    let answers = || async { http_client::get(&url, &[]).await.is_ok() };
    assert!(eventually(answers, |answers| *answers).await, "it does not listen");
    let sandbox = home_activities(&url).await;

    let output = BufReader::new(process.stdout.take().expect("a pipe"));
    let (lines, mut chunks) = unbounded_channel();
    std::thread::spawn(move || {
        let mut read = output.lines().map_while(Result::ok);
        read.try_for_each(|line| lines.send(line + "\n"))
    });

    let mut shown = String::new();
    let fine = || event("home-activities");
    let fine = invoke_until(&sandbox, fine, (&mut chunks, &mut shown), " 200 ").await;
    let failing = || event("home-activities").header("x-cruddur-fault", "panic");
    let failed = invoke_until(&sandbox, failing, (&mut chunks, &mut shown), " 500 ").await;

    let _ = process.kill();
    let _ = process.wait();
    let row = |status| shown.lines().find(|row| row.contains(status)).expect(status);
    assert!(row(" 200 ").contains("GET /api/activities/home"), "{shown}");
    assert!(row(" 200 ").contains(&short_id(&fine)), "{shown}");
    assert!(row(" 500 ").contains(&short_id(&failed)), "{shown}");
    assert!(row(" 500 ").contains("Panic: ") && row(" 500 ").contains("faults.rs:"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
}

/// Without terminal colours, which end with `m`, and without the addresses of links.
fn without_colours(screen: &str) -> String {
    let without = |text: &str, begin: &str, end: &str| {
        let mut parts = text.split(begin);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once(end).map_or(part, |(_, rest)| rest))
    };
    without(&without(screen, "\x1b]8;;", "\x1b\\"), "\x1b[", "m")
}
