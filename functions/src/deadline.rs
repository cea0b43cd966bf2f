//! The deadline of the invocation in progress.
//!
//! Lambda kills a function that overruns its timeout, and the reply and the spans that explain the
//! delay are lost. Limits of single waits cannot prevent that, because their number is not known in
//! advance. So the deadline belongs to the invocation: [`crate::runtime`] cuts the handler off
//! there, and the store starts no attempt that could end later. The deadline is a task-local value,
//! because neither the endpoints nor the access patterns use it.

use std::time::{Duration, SystemTime};

use lambda_runtime::Context;
use tokio::time::{Instant, error::Elapsed, timeout_at};

tokio::task_local! {
    static LIMITS: Limits;
}

/// The times of the invocation in progress.
#[derive(Clone, Copy)]
struct Limits {
    began: Instant,
    deadline: Instant,
}

/// The part of Lambda's time that is kept for posting the reply and handing the spans to the
/// extension: twice what the two may take.
const MARGIN: Duration = Duration::from_millis(500);

/// The limit for a handler when the event has no usable deadline. It fits the 10 s timeout of
/// template.yaml.
const WITHOUT_DEADLINE: Duration = Duration::from_millis(9_500);

/// Runs `handler` to its end, or cuts it off shortly before Lambda would.
pub(crate) async fn keep<T>(
    context: &Context,
    handler: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let began = Instant::now();
    let deadline = began + time_for_handler(context, SystemTime::now());
    timeout_at(deadline, LIMITS.scope(Limits { began, deadline }, handler)).await
}

/// The end of a time that all calls of the invocation share, at its deadline at the latest. A
/// program without invocations starts the time with each call.
pub(crate) fn end_of(shared: Duration) -> Instant {
    match LIMITS.try_with(|limits| *limits) {
        Ok(Limits { began, deadline }) => deadline.min(began + shared),
        Err(_) => Instant::now() + shared,
    }
}

/// A deadline in the past is ignored: emulators send 1970 or nothing.
fn time_for_handler(context: &Context, now: SystemTime) -> Duration {
    match context.deadline().duration_since(now) {
        // Of a very short time, the handler gets most.
        Ok(left) if !left.is_zero() => left - MARGIN.min(left / 4),
        _ => WITHOUT_DEADLINE,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn due_in(left: Duration) -> Context {
        let mut context = Context::default();
        let deadline = SystemTime::now() + left;
        let since_1970 = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        context.deadline = u64::try_from(since_1970.as_millis()).unwrap();
        context
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_is_cut_off_shortly_before_the_deadline() {
        let started = Instant::now();

        let cut_off = keep(&due_in(Duration::from_secs(10)), pending::<()>()).await;

        assert!(cut_off.is_err());
        let took = started.elapsed();
        // The clock of the machine is not paused, so a busy one takes its part of the time.
        assert!(took <= Duration::from_millis(9_501), "{took:?}");
        assert!(took > Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_an_invocation_share_its_time_and_end_with_its_deadline() {
        let started = Instant::now();
        let (short, long) = (Duration::from_secs(3), Duration::from_secs(60));
        let call = async {
            tokio::time::sleep(short).await;
            (end_of(short), end_of(long))
        };

        let in_invocation = keep(&Context::default(), call).await.unwrap();

        assert_eq!(in_invocation, (started + short, started + WITHOUT_DEADLINE));
        assert_eq!(end_of(short), started + short + short);
    }

    #[test]
    fn a_deadline_in_the_past_is_none_and_a_near_one_leaves_most_to_the_handler() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000);
        for (deadline_ms, expected_ms) in [
            (0, 9_500),
            (600_000, 9_500), // cargo-lambda's
            (1_000_000, 9_500),
            (1_000_004, 3),
            (1_001_000, 750),
            (1_010_000, 9_500),
            (1_900_000, 899_500),
        ] {
            let mut context = Context::default();
            context.deadline = deadline_ms;

            let time = time_for_handler(&context, now);

            assert_eq!(time, Duration::from_millis(expected_ms), "{deadline_ms}");
        }
    }
}
