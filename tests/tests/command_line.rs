//! What the extension's binary says to a person, and that it is the extension otherwise.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use cruddur_tests::{Cli, binaries};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[tokio::test]
async fn help_lists_the_commands_and_version_is_one_line() {
    let help = Cli::new(&["--help"]).run().await;
    let version = Cli::new(&["-V"]).run().await;

    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Usage:") && help.out.contains("--version"), "{help:?}");
    assert!(help.out.lines().all(|line| line.chars().count() <= 100), "{help:?}");
    assert_eq!(version.out, format!("cruddur-telemetry {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn an_unknown_argument_is_an_error_that_leads_to_the_help() {
    for argument in ["doktor", "--verbose", "-x"] {
        let refused = Cli::new(&[argument]).run().await;

        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{refused:?}");
        assert!(refused.err.contains(argument) && refused.err.contains("--help"), "{refused:?}");
    }
}

#[test]
fn seed_refuses_a_table_on_aws_and_names_the_variable() {
    let seed = Command::new(binaries().path("seed"))
        .env_clear()
        .env("CRUDDUR_TABLE", "production")
        .output()
        .expect("`seed` starts");

    let printed = String::from_utf8_lossy(&seed.stderr);
    assert_eq!((seed.status.code(), seed.stdout.len()), (Some(1), 0), "{printed}");
    assert!(printed.contains("CRUDDUR_TABLE=production"), "{printed}");
}

#[test]
fn who_cannot_complain_goes_on_to_the_exit_code() {
    let full = || Stdio::from(File::create("/dev/full").expect("a device that is full"));
    for (arguments, code) in [(&["doktor"][..], 2), (&["replay"], 1), (&["board"], 1)] {
        let mut command = Command::new(binaries().path("cruddur-telemetry"));
        // There is something to warn of, too.
        command.args(arguments).env_clear().env("CRUDDUR_FLUSH", "sometimes");
        command.stdin(Stdio::null()).stdout(full()).stderr(full());
        assert_eq!(command.status().expect("it starts").code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn the_extension_alone_prints_one_line_with_its_addresses_and_ctrl_c_ends_it_in_silence() {
    let spool = tempfile::tempdir().expect("a directory");
    for (grpc, expected) in [
        (
            "127.77.0.9:4317",
            "OTLP is received at http://127.77.0.9:4318 and, over gRPC, at http://127.77.0.9:4317, and shown \
             at http://127.77.0.9:4318\n",
        ),
        (
            "off",
            "OTLP is received at http://127.77.0.9:4318, and shown at http://127.77.0.9:4318\n",
        ),
    ] {
        let mut extension = Command::new(binaries().path("cruddur-telemetry"))
            .env_clear()
            .env("CRUDDUR_OTLP_LISTEN", "127.77.0.9:4318")
            .env("CRUDDUR_OTLP_GRPC_LISTEN", grpc)
            .env("CRUDDUR_SPOOL_DIR", spool.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the extension starts");
        let mut printed = BufReader::new(extension.stderr.take().expect("a pipe"));
        let mut first = String::new();
        printed.read_line(&mut first).expect("text");
        let process = Pid::from_raw(extension.id().try_into().expect("a process id"));
        kill(process, Signal::SIGINT).expect("it runs");

        let mut rest = String::new();
        printed.read_to_string(&mut rest).expect("text");
        let mut answer = String::new();
        extension.stdout.take().expect("a pipe").read_to_string(&mut answer).expect("text");
        let status = extension.wait().expect("it ends");
        assert_eq!((first.as_str(), rest.as_str(), answer.as_str()), (expected, "", ""));
        assert_eq!(status.code(), Some(0));
    }
}
