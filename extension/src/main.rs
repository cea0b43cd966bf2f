//! The extension's process on Lambda or beside an emulator, or one of the operator's commands.

#[cfg(target_env = "musl")]
mod allocator;

use std::{env, ffi::OsString, io::IsTerminal, process::ExitCode};

use cruddur_telemetry::{
    command::{
        Command,
        output::{USAGE_ERROR, print_error},
    },
    config::Config,
    lifecycle,
    processor::log_lines::emf,
};
use tracing::{error, level_filters::LevelFilter, warn};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator::new();

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
    // Host names are resolved on a blocking thread. A name server that does not answer must not delay
    // the exit beyond Lambda's limit.
    runtime.shutdown_background();
    code
}

async fn run(command: Command) -> ExitCode {
    // Non-UTF-8 values are decoded lossily, so they are reported as invalid rather than treated as unset.
    let text = |value: OsString| value.to_string_lossy().into_owned();
    let (config, errors) = Config::from_vars(|name| env::var_os(name).map(text));
    start_log(config.log_level);
    config.network.clone().apply();
    std::panic::set_hook(Box::new(|panic| error!("{panic}")));
    if command != Command::Extension {
        let variables = env::vars_os().map(|(name, value)| (text(name), text(value)));
        return command.run(&variables.collect(), config, &errors).await;
    }
    for error in errors {
        warn!("{error}");
    }
    emf::set_scope(config.metrics.clone());
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

/// Logs to standard error, which Lambda collects and gives a time.
fn start_log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .log_internal_errors(false) // it would panic where nothing can be written
        .init();
}

/// Lambda rejects any name but the file name of the executable that it started.
fn executable_name() -> String {
    let path = env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name()?.to_str());
    name.unwrap_or(env!("CARGO_PKG_NAME")).to_owned()
}
