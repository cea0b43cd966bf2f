//! The real programs through the life of an environment: freezing, timeouts, kills, the end.

use std::time::Duration;

use cruddur_tests::http_client::post;
use cruddur_tests::{
    Answer, EXTENSION, Exit, FailureKind, Honeycomb, Party, Phase, Sandbox, What, event, otlp,
};
use tokio::net::TcpListener;

use crate::puppet::echo;

fn extension() -> Party {
    Party::Extension(EXTENSION.to_owned())
}

#[tokio::test]
async fn between_invocations_all_is_frozen_and_the_next_one_works() {
    let honeycomb = Honeycomb::start().await;
    let sandbox =
        Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store().start().await;

    let first = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&first.request_id).await;
    sandbox.stands_still(Party::Runtime).await;
    sandbox.stands_still(extension()).await;
    let second = sandbox.invoke(event("home-activities")).await;

    assert_eq!((first.status, second.status), (200, 200));
    honeycomb.server_span(&first.request_id).await;
    honeycomb.server_span(&second.request_id).await;
}

#[tokio::test]
async fn an_extension_that_is_switched_off_receives_nothing_and_holds_no_invocation() {
    let honeycomb = Honeycomb::start().await;
    let builder = Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store();
    let sandbox = builder.env("CRUDDUR_ENABLED", "false").start().await;

    for _ in 0..2 {
        let reply = sandbox.invoke(event("home-activities")).await;
        assert_eq!(reply.status, 200);
        sandbox.ended(&reply.request_id).await;
    }
    let ended = sandbox.shutdown().await;

    let journal = sandbox.journal();
    assert_eq!(journal.count(|what| matches!(what, What::Subscribe { .. })), 0, "{journal:?}");
    assert_eq!(journal.count(|what| matches!(what, What::ExtensionNext { .. })), 1, "{journal:?}");
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert_eq!(honeycomb.requests().len(), 0);
}

#[tokio::test]
async fn after_a_timeout_the_next_invocation_works_in_new_processes() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("home-activities")
        .honeycomb(&honeycomb)
        .demo_store()
        .freezing(false)
        .function_timeout(Duration::from_secs(2))
        .start()
        .await;

    sandbox.stall_function();
    let error = sandbox.try_invoke(event("home-activities")).await.expect_err("a timeout");
    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(error.kind, FailureKind::Timeout);
    assert_eq!(reply.status, 200);
    let server = honeycomb.server_span(&reply.request_id).await;
    assert_eq!(server.attribute("faas.coldstart"), true);
    let journal = sandbox.journal();
    assert_eq!(journal.count(|what| *what == What::Shutdown { reason: "timeout" }), 1);
    assert_eq!(journal.exit(&Party::Runtime), Some(Exit::Signal(9)));
    assert_eq!(journal.exit(&extension()), Some(Exit::Code(0)), "it left by itself");
}

#[tokio::test]
async fn an_extension_killed_in_an_invocation_fails_that_one_only() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("home-activities")
        .honeycomb(&honeycomb)
        .demo_store()
        .freezing(false)
        .start()
        .await;

    sandbox.stall_function();
    let failing = sandbox.try_invoke(event("home-activities"));
    let killing = async {
        let begun = |what: &What| matches!(what, What::InvokeStarted { .. });
        sandbox.happens("an invocation", begun).await;
        sandbox.kill_extension();
    };
    let (outcome, ()) = tokio::join!(failing, killing);
    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(outcome.expect_err("a crash").kind, FailureKind::ExtensionCrash);
    assert_eq!(reply.status, 200);
    honeycomb.server_span(&reply.request_id).await;
}

#[tokio::test]
async fn an_extension_killed_between_invocations_fails_the_next_one_only() {
    let honeycomb = Honeycomb::start().await;
    let sandbox =
        Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store().start().await;

    sandbox.kill_extension();
    let killed = |what: &What| *what == What::Exited(extension(), Exit::Signal(9));
    sandbox.happens("the kill", killed).await;
    let error = sandbox.try_invoke(event("home-activities")).await.expect_err("a crash");
    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(error.kind, FailureKind::ExtensionCrash);
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_function_killed_in_an_invocation_works_again_and_the_extension_left_by_itself() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("home-activities")
        .honeycomb(&honeycomb)
        .demo_store()
        .freezing(false)
        .start()
        .await;

    sandbox.stall_function();
    let failing = sandbox.try_invoke(event("home-activities"));
    let killing = async {
        let begun = |what: &What| matches!(what, What::InvokeStarted { .. });
        sandbox.happens("an invocation", begun).await;
        sandbox.kill_function();
    };
    let (outcome, ()) = tokio::join!(failing, killing);
    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(outcome.expect_err("a crash").kind, FailureKind::RuntimeExit);
    assert_eq!(reply.status, 200);
    assert_eq!(sandbox.journal().exit(&extension()), Some(Exit::Code(0)));
    honeycomb.server_span(&reply.request_id).await;
}

#[tokio::test]
async fn what_nobody_flushed_leaves_at_shutdown() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("echo")
        .function(echo())
        .honeycomb(&honeycomb)
        .freezing(false)
        .start()
        .await;

    let url = format!("{}/v1/traces", sandbox.otlp_url());
    let headers = [("content-type", "application/x-protobuf")];
    let body = otlp::request(&["left over"]);
    let taken = post(&url, &headers, body).await.expect("an answer");
    let ended = sandbox.shutdown().await;

    assert_eq!(taken.status, 200);
    honeycomb.span("left over").await;
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert!(ended.took < Duration::from_secs(2), "{ended:?}");
}

#[tokio::test]
async fn the_last_invocations_spans_reach_a_slow_honeycomb() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::late(Duration::from_millis(300)));
    let sandbox = Sandbox::builder("home-activities")
        .honeycomb(&honeycomb)
        .env("CRUDDUR_MAX_HOLD_MS", "50")
        .demo_store()
        .start()
        .await;

    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&reply.request_id).await;
    let ended = sandbox.shutdown().await;

    honeycomb.server_span(&reply.request_id).await;
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert!(ended.took < Duration::from_secs(2), "{ended:?}");
}

#[tokio::test]
async fn an_otlp_port_in_use_is_one_line_and_the_function_does_not_notice() {
    let honeycomb = Honeycomb::start().await;
    let builder = Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store();
    let squatter = TcpListener::bind(builder.otlp_address()).await.expect("a free port");
    let squatter = tokio::spawn(async move {
        while let Ok((connection, _)) = squatter.accept().await {
            drop(connection);
        }
    });

    let sandbox = builder.start().await;
    let mut replies = Vec::new();
    for _ in 0..2 {
        let reply = sandbox.invoke(event("home-activities")).await;
        sandbox.ended(&reply.request_id).await;
        replies.push(reply);
    }
    let alive = sandbox.extension_is_alive().await;
    let ended = sandbox.shutdown().await;
    squatter.abort();

    assert!(replies.iter().all(|reply| reply.status == 200));
    assert!(alive);
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    let lines = sandbox.extension_log_lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("4318"), "{lines:#?}");
}

#[tokio::test]
async fn the_extension_registers_for_both_events_subscribes_and_never_reports_an_error() {
    let honeycomb = Honeycomb::start().await;
    let sandbox =
        Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store().start().await;

    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&reply.request_id).await;
    sandbox.reaches(Phase::Ready).await;
    let ended = sandbox.shutdown().await;

    let journal = sandbox.journal();
    let count = |wanted: fn(&What) -> bool| journal.count(wanted);
    assert_eq!(count(|what| matches!(what, What::Register { status: 200, .. })), 1);
    assert_eq!(count(|what| matches!(what, What::Subscribe { status: 200, .. })), 1);
    let errors = count(|what| {
        matches!(what, What::ExtensionInitError { .. } | What::ExtensionExitError { .. })
    });
    assert_eq!(errors, 0);
    // At start, after the invocation; the second one is answered with SHUTDOWN.
    assert_eq!(count(|what| matches!(what, What::ExtensionNext { .. })), 2);
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert!(sandbox.extension_log_lines().is_empty(), "{:#?}", sandbox.extension_log_lines());
}

#[tokio::test]
async fn where_invoke_is_refused_a_timer_has_everything_sent() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("home-activities")
        .honeycomb(&honeycomb)
        .demo_store()
        .without_invoke_events()
        .start()
        .await;

    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(reply.status, 200);
    honeycomb.server_span(&reply.request_id).await;
    let ended = sandbox.shutdown().await;
    assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", sandbox.story());
    let journal = sandbox.journal();
    let registered = journal.entries().iter().filter_map(|entry| match &entry.what {
        What::Register { status, .. } => Some(*status),
        _ => None,
    });
    assert_eq!(registered.collect::<Vec<_>>(), [403, 200]);
    let nexts = journal.count(|what| matches!(what, What::ExtensionNext { .. }));
    assert_eq!(nexts, 1, "it is told of SHUTDOWN alone");
}
