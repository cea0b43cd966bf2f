//! A function that computes for 2.5 ms, waits for 5 ms and logs 200 lines. For `make bench-extension`.

#![allow(clippy::print_stdout)] // Lambda's log

use std::hint::black_box;
use std::time::{Duration, Instant};

use lambda_http::{Error, Request, run, service_fn};

const COMPUTING: Duration = Duration::from_micros(2_500);
const WAITING: Duration = Duration::from_millis(5);
const LINES: usize = 200;

/// A microsecond or so of work.
fn compute() {
    black_box(
        (0..2_000_u64).fold(0, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(black_box(n))),
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Init has a whole core, so this much work takes as much CPU time later.
    let began = Instant::now();
    let rounds = (0_u64..).take_while(|_| {
        compute();
        began.elapsed() < COMPUTING
    });
    let rounds = rounds.count();
    let handle = move |_: Request| async move {
        (0..rounds).for_each(|_| compute());
        tokio::time::sleep(WAITING).await;
        let lines = (0..LINES).map(|n| format!("a line of some length, number {n}\n"));
        print!("{}", lines.collect::<String>());
        Ok::<_, Error>("[]")
    };
    run(service_fn(handle)).await
}
