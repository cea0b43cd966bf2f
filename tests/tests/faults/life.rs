//! Rows whose fault is what becomes of the environment: freezes, kills, resets, the end.

use std::time::Duration;

use cruddur_tests::{Answer, Burst, EXTENSION, Exit, FailureKind, Load, Party, Phase, What};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::rig::{MAX_HOLD, Rig};

/// Hangs after its spans.
const HANGS: Burst = Burst { replies: false, ..Burst::SMALL };

fn extension() -> Party {
    Party::Extension(EXTENSION.to_owned())
}

#[tokio::test]
async fn a_freeze_with_a_request_under_way_and_the_answer_waiting_at_the_thaw() {
    let rig = Rig::start("freeze in a request, answered meanwhile").await;
    rig.honeycomb.next_answer(Answer::late(MAX_HOLD + Duration::from_millis(200)));

    rig.invoke(1).await;
    rig.sandbox.stands_still(extension()).await;
    // Longer than the answer takes: the extension finds it when it wakes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.invoke(2).await;
    assert_was_frozen(&rig);
    let outcome = rig.end().await;

    outcome.assert_delivered();
}

#[tokio::test]
async fn a_freeze_with_a_request_under_way_and_the_connection_gone_at_the_thaw() {
    let rig = Rig::start("freeze in a request, connection closed").await;
    rig.honeycomb.next_answer(Answer::Hang);

    rig.invoke(1).await;
    rig.sandbox.stands_still(extension()).await;
    rig.network.cut();
    rig.network.strikes(1).await;
    rig.invoke(2).await;
    assert_was_frozen(&rig);
    let outcome = rig.end().await;

    outcome.assert_delivered();
}

#[tokio::test]
async fn a_freeze_at_rest_and_the_connection_gone_at_the_thaw() {
    let rig = Rig::start("freeze at rest, connection closed").await;

    rig.invoke(1).await;
    rig.sandbox.stands_still(extension()).await;
    rig.network.cut();
    rig.network.strikes(1).await;
    rig.invoke(2).await;
    assert_was_frozen(&rig);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_stop_in_the_middle_of_the_drain() {
    let rig = Rig::start("freeze at SHUTDOWN, then killed").await;
    rig.honeycomb.always(Answer::Hang);
    rig.invoke(2).await;
    let pid = rig.sandbox.pid(extension()).await.expect("a process");

    let stopping = async {
        // Then the extension has its SHUTDOWN, and waits for an answer that does not come.
        let runtime_is_gone = |what: &What| matches!(what, What::Exited(Party::Runtime, _));
        rig.sandbox.happens("the runtime's end", runtime_is_gone).await;
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("the extension's process");
    };
    let (ended, ()) = tokio::join!(rig.sandbox.shutdown(), stopping);
    let outcome = rig.outcome();

    assert_eq!(ended.extension, Some(Exit::Signal(9)));
    outcome.assert_spooled();
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_flush() {
    let rig = Rig::start_with("SIGKILL in mid-flush", |builder| {
        builder.env("CRUDDUR_MAX_HOLD_MS", "5000").freezing(false)
    })
    .await;
    rig.invoke(1).await;
    rig.honeycomb.next_answer(Answer::Hang);

    let before = rig.honeycomb.requests().len();
    rig.sandbox.invoke(Burst::SMALL.event()).await;
    rig.honeycomb.requests_reach(before + 1).await;
    rig.sandbox.kill_extension();
    let killed = |what: &What| *what == What::Exited(extension(), Exit::Signal(9));
    rig.sandbox.happens("the kill", killed).await;
    rig.invoke(1).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_kill_in_a_flush_that_lasts() {
    let mut rig = Rig::start_with("SIGKILL in a flush that lasts", |builder| {
        builder.env("CRUDDUR_MAX_HOLD_MS", "60000").freezing(false)
    })
    .await;
    rig.max_hold = Duration::from_secs(60);
    rig.honeycomb.always(Answer::Hang);

    rig.sandbox.invoke(Burst::SMALL.event()).await;
    rig.spools(13).await;
    rig.sandbox.kill_extension();
    let killed = |what: &What| *what == What::Exited(extension(), Exit::Signal(9));
    rig.sandbox.happens("the kill", killed).await;
    rig.honeycomb.always(Answer::Proper);
    rig.invoke(1).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_kill_after_an_invocation_whose_spans_nobody_took() {
    let rig = Rig::start("SIGKILL after a hold that was over").await;
    rig.honeycomb.next_answer(Answer::Hang);
    rig.invoke(1).await;

    rig.sandbox.kill_extension();
    let killed = |what: &What| *what == What::Exited(extension(), Exit::Signal(9));
    rig.sandbox.happens("the kill", killed).await;
    rig.sandbox.try_invoke(Burst::SMALL.event()).await.expect_err("a crash");
    rig.invoke(1).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_shutdown_before_any_invocation() {
    let load = Load::default();
    let mut rig = Rig::start_with("SHUTDOWN before any invocation", |builder| {
        builder.function(load.function_that_begins_with(5))
    })
    .await;
    rig.load = load;

    let outcome = rig.end().await;

    assert_eq!(outcome.sent(), 5);
    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_function_that_runs_into_its_timeout() {
    let rig = Rig::start_with("function timeout", |builder| {
        builder.function_timeout(Duration::from_secs(1))
    })
    .await;

    let error = rig.sandbox.try_invoke(HANGS.event()).await.expect_err("a timeout");
    rig.invoke(1).await;
    let outcome = rig.end().await;

    assert_eq!(error.kind, FailureKind::Timeout);
    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_function_that_crashes() {
    let rig = Rig::start("function crash").await;

    let crashing = rig.sandbox.try_invoke(HANGS.event());
    let killing = async {
        rig.load.requests_reach(HANGS.requests).await;
        rig.sandbox.kill_function();
    };
    let (outcome, ()) = tokio::join!(crashing, killing);
    rig.invoke(1).await;
    let row = rig.end().await;

    assert_eq!(outcome.expect_err("a crash").kind, FailureKind::RuntimeExit);
    row.assert_delivered_once();
}

#[tokio::test]
async fn no_memory_is_left_for_either() {
    let rig = Rig::start("out of memory: both are killed").await;
    rig.invoke(1).await;
    let before = rig.load.sent().len();

    let failing = rig.sandbox.try_invoke(HANGS.event());
    let killing = async {
        rig.load.requests_reach(2 * HANGS.requests + 1).await;
        rig.sandbox.kill_function();
        rig.sandbox.kill_extension();
    };
    let (failed, ()) = tokio::join!(failing, killing);
    failed.expect_err("a failure");
    let during = rig.load.sent().len() - before;
    rig.invoke(1).await;
    let outcome = rig.end().await;

    // The invocation in progress, and nothing else.
    assert!(outcome.lost() <= during, "{}", outcome.story);
    assert!(outcome.sums().killed >= outcome.lost(), "{}", outcome.story);
}

#[tokio::test]
async fn a_reset_while_honeycomb_is_away_and_then_it_is_back() {
    let rig = Rig::start_with("reset while down, then up", |builder| {
        builder.function_timeout(Duration::from_secs(2))
    })
    .await;
    rig.honeycomb.always(Answer::status(503));
    rig.invoke(2).await;

    rig.sandbox.try_invoke(HANGS.event()).await.expect_err("a timeout");
    rig.sandbox.reaches(Phase::Off).await;
    assert!(rig.honeycomb.requests().iter().all(|request| request.status == Some(503)));
    rig.honeycomb.always(Answer::Proper);
    rig.invoke(1).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

fn assert_was_frozen(rig: &Rig) {
    assert!(rig.sandbox.journal().count(|what| *what == What::Frozen) > 0);
}
