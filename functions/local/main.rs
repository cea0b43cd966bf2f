//! All functions in one program, for the local run: a saved file costs one link instead of eighteen.
//!
//! `AWS_LAMBDA_FUNCTION_NAME` chooses the function of a process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cruddur::{Error, endpoints::dispatch};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

/// A reply is posted and its spans are sent in this time.
const REPLY_TIME: Duration = Duration::from_millis(20);

/// How long a reload waits for running requests.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Counts the begins and ends of requests, so an odd number is a running request.
#[derive(Clone, Default)]
struct Work(Arc<AtomicU64>);

struct Running(Work);

impl Work {
    fn begin(&self) -> Running {
        self.0.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns after [`REPLY_TIME`] without a request.
    async fn idle(&self) {
        loop {
            let before = self.count();
            sleep(REPLY_TIME).await;
            if before.is_multiple_of(2) && self.count() == before {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends at SIGTERM, after the running request: the emulator would wait for its reply without a limit.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let work = Work::default();
    let running = work.clone();
    let stop = async {
        terminate.recv().await;
        let _ = timeout(STOP_LIMIT, work.idle()).await;
    };
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    tokio::select! {
        ended = dispatch::run(&name, move || running.begin()) => ended,
        () = stop => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

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
