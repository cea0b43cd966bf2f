//! The extension's process: on Lambda beside a function, elsewhere beside an emulator; or one of the
//! commands of whoever operates it.

use std::{env, ffi::OsString, io::IsTerminal, process::ExitCode};

use cruddur_telemetry::{
    command::{
        Command,
        output::{USAGE_ERROR, print_error},
    },
    config::Config,
    lifecycle,
};
#[cfg(target_env = "musl")]
use dlmalloc::GlobalDlmalloc;
use tracing::{error, level_filters::LevelFilter, warn};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    let command = match Command::parse(env::args_os()) {
        Ok(command) => command,
        Err(error) => {
            print_error(&error.to_string());
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("The extension cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(command));
    // Names are resolved on a thread of its own: one that no name server answers must not hold
    // the exit until Lambda loses its patience.
    runtime.shutdown_background();
    code
}

async fn run(command: Command) -> ExitCode {
    // What is no text is read as text that is wrong, and not as if nothing were there.
    let text = |value: OsString| value.to_string_lossy().into_owned();
    let (config, errors) = Config::from_vars(|name| env::var_os(name).map(text));
    start_log(config.log_level);
    std::panic::set_hook(Box::new(|panic| error!("{panic}")));
    if command != Command::Extension {
        let variables = env::vars_os().map(|(name, value)| (text(name), text(value)));
        return command.run(&variables.collect(), config, &errors).await;
    }
    for error in errors {
        warn!("{error}");
    }
    match &config.lambda_api {
        Some(api) => lifecycle::run_on_lambda(api, &executable_name(), &config).await,
        None => {
            if let Err(error) = lifecycle::run_elsewhere(&config).await {
                error!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// To standard error, which Lambda collects; it adds the time by itself.
fn start_log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .log_internal_errors(false) // it would panic where nothing can be written
        .init();
}

/// Lambda refuses any other name than that of the file that it started.
fn executable_name() -> String {
    let path = env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name()?.to_str());
    name.unwrap_or(env!("CARGO_PKG_NAME")).to_owned()
}
