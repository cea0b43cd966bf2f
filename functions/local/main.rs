//! All functions in one program, for the local run: a saved file costs one link instead of eighteen.
//!
//! `AWS_LAMBDA_FUNCTION_NAME` chooses the function of a process.

use std::{cell::Cell, time::Duration};

use cruddur::{
    Error, endpoints,
    runtime::{self, App},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

/// A reply is posted and its spans are sent in this time.
const REPLY_TIME: Duration = Duration::from_millis(20);

/// How long a reload waits for running requests.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Calls `$with!` with the modules of all endpoints.
macro_rules! for_all_functions {
    ($with:ident) => {
        $with! {
            browser_traces, create_activity, create_message, delete_activity, health_check,
            home_activities, like_activity, message_groups, notifications_activities,
            reply_activity, rollbar_test, search_activities, show_activities, show_messages,
            show_status, update_profile, user_profile, user_short,
        }
    };
}

macro_rules! define_run {
    ($($endpoint:ident,)+) => {
        async fn run(name: &str, work: &Work) -> Result<(), Error> {
            match name.replace('-', "_").as_str() {
                $(stringify!($endpoint) => {
                    let handle = async |app: &App, request| {
                        let _running = work.begin();
                        endpoints::$endpoint::handle(app, request).await
                    };
                    runtime::run(endpoints::$endpoint::ROUTE, handle).await
                })+
                _ => Err(format!("AWS_LAMBDA_FUNCTION_NAME={name:?} is not a function").into()),
            }
        }
    };
}

for_all_functions!(define_run);

/// Counts the begins and ends of requests, so an odd number is a running request.
#[derive(Default)]
struct Work(Cell<u64>);

struct Running<'a>(&'a Work);

impl Work {
    fn begin(&self) -> Running<'_> {
        self.0.set(self.0.get() + 1);
        Running(self)
    }

    /// Returns after [`REPLY_TIME`] without a request.
    async fn idle(&self) {
        loop {
            let before = self.0.get();
            sleep(REPLY_TIME).await;
            if before.is_multiple_of(2) && self.0.get() == before {
                return;
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}

/// Ends at SIGTERM, after the running request: the emulator would wait for its reply without a limit.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let work = Work::default();
    let stop = async {
        terminate.recv().await;
        let _ = timeout(STOP_LIMIT, work.idle()).await;
    };
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    tokio::select! {
        ended = run(&name, &work) => ended,
        () = stop => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    macro_rules! names {
        ($($endpoint:ident,)+) => { [$(stringify!($endpoint).replace('_', "-")),+] };
    }

    #[test]
    fn each_file_of_bin_is_a_function_here() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut of_bin: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        of_bin.sort();

        assert_eq!(for_all_functions!(names).to_vec(), of_bin);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_is_idle_once_the_reply_of_its_running_request_is_posted() {
        let work = Work::default();
        let start = Instant::now();
        let request = async {
            let _running = work.begin();
            sleep(REPLY_TIME * 10).await;
        };

        let (idle_after, ()) = tokio::join!(
            async {
                work.idle().await;
                start.elapsed()
            },
            request
        );

        assert!(idle_after > REPLY_TIME * 10, "{idle_after:?}");
        assert!(idle_after <= REPLY_TIME * 12, "{idle_after:?}");
    }
}
