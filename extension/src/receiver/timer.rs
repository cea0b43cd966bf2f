//! The timer of the receivers' connections, which a freeze does not advance: at a thaw, a client can go on
//! with a request that it had begun.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

use crate::client::freeze::sleep_awake;

#[derive(Clone, Debug)]
pub(super) struct AwakeTimer;

/// Ends after the time in which the process runs.
struct AwakeSleep(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Timer for AwakeTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(AwakeSleep(Box::pin(sleep_awake(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

impl Future for AwakeSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Sleep for AwakeSleep {}
