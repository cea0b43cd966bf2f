//! The sandbox itself, with a runtime and extensions played by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cruddur_tests::http_client::{get, post};
use cruddur_tests::{
    EXTENSION, Exit, FailureKind, Party, Phase, Program, Sandbox, What, raw_event,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::puppet::{self, Puppet, echo, idle_extension, script};

#[tokio::test]
async fn a_function_without_extension_replies_and_is_killed_at_once_in_the_end() {
    let sandbox = Sandbox::builder("echo").without_extension().function(echo()).start().await;

    let reply = sandbox.invoke(raw_event(json!({ "a": 1 }))).await;
    let again = sandbox.invoke(raw_event(json!({ "a": 2 }))).await;
    sandbox.shutdown().await;

    assert_eq!((reply.status, reply.json), (200, json!({ "a": 1 })));
    assert_eq!(again.json, json!({ "a": 2 }));
    assert_ne!(reply.request_id, again.request_id);
    let killed = What::Signalled(Party::Runtime, "SIGKILL");
    let journal = sandbox.journal();
    assert_eq!(journal.count(|what| *what == killed), 1);
    assert_eq!(journal.count(|what| *what == What::Signalled(Party::Runtime, "SIGTERM")), 0);
}

#[tokio::test]
async fn the_runtime_starts_when_the_extension_has_registered_and_init_ends_with_both_in_next() {
    let extension = idle_extension(EXTENSION);
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).start().await;

    let journal = sandbox.journal();

    let first = |wanted: fn(&What) -> bool| journal.first(wanted).expect("an entry");
    let registered = first(|what| matches!(what, What::Register { status: 200, .. }));
    let started = first(|what| *what == What::Started(Party::Runtime));
    let runtime = first(|what| *what == What::RuntimeNext);
    let extension = first(|what| matches!(what, What::ExtensionNext { .. }));
    let ended = first(|what| matches!(what, What::InitEnded { succeeded: true }));
    assert!(registered <= started && started < runtime);
    assert!(ended >= runtime && ended >= extension);
}

#[tokio::test]
async fn the_caller_has_the_reply_while_the_extension_still_works() {
    let work = Arc::new(Semaphore::new(0));
    let extension = {
        let work = work.clone();
        Program::task(move |variables| {
            let work = work.clone();
            async move {
                let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE"]).await;
                loop {
                    puppet.next().await;
                    work.acquire().await.expect("open").forget();
                }
            }
        })
    };
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).start().await;

    let reply = sandbox.invoke(raw_event(json!({}))).await;
    let ended_with_the_reply =
        sandbox.journal().count(|what| matches!(what, What::InvokeEnded { .. }));
    work.add_permits(1);
    sandbox.ended(&reply.request_id).await;

    assert_eq!(ended_with_the_reply, 0);
    let hold = sandbox.journal().hold_of_next(&reply.request_id).expect("a hold");
    assert!(hold > Duration::ZERO, "{hold:?}");
}

#[tokio::test]
async fn registering_follows_the_rules_of_the_api() {
    let sandbox = Sandbox::builder("echo")
        .function(echo())
        .extension(EXTENSION, Program::task(|_| std::future::pending()))
        .launch()
        .await;
    let api = sandbox.api().to_string();

    let unnamed = puppet::register(&api, "", &[]).await;
    let internal = puppet::register(&api, "not-in-opt", &["INVOKE", "SHUTDOWN"]).await;
    let unknown = puppet::register(&api, EXTENSION, &["RESTORE"]).await;
    let good = puppet::register(&api, EXTENSION, &["INVOKE"]).await;
    let twice = puppet::register(&api, EXTENSION, &["INVOKE"]).await;
    let next = format!("http://{api}/2020-01-01/extension/event/next");
    let identifier = uuid::Uuid::new_v4().to_string();
    let stranger =
        get(&next, &[("lambda-extension-identifier", &identifier)]).await.expect("an answer");
    let anonymous = get(&next, &[]).await.expect("an answer");

    let refusals = [unnamed, internal, unknown, twice, stranger, anonymous];
    assert!(refusals.iter().all(|reply| reply.status == 403), "{refusals:?}");
    let types: Vec<Value> =
        refusals.iter().map(|reply| reply.json()["errorType"].clone()).collect();
    let expected = [
        "Extension.InvalidExtensionName",
        "Extension.InvalidEventType",
        "Extension.InvalidEventType",
        "Extension.InvalidExtensionState",
        "Extension.UnknownExtensionIdentifier",
        "Extension.MissingExtensionIdentifier",
    ];
    assert_eq!(types, expected);
    assert_eq!(good.status, 200);
    let known =
        json!({ "functionName": "echo", "functionVersion": "$LATEST", "handler": "bootstrap" });
    assert_eq!(good.json(), known);
}

#[tokio::test]
async fn registering_after_init_is_refused() {
    let sandbox = Sandbox::builder("echo").without_extension().function(echo()).start().await;

    let late = puppet::register(&sandbox.api().to_string(), EXTENSION, &["INVOKE"]).await;

    assert_eq!(late.status, 403);
    assert_eq!(late.json()["errorType"], "Extension.RegistrationClosed");
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_killed_and_works_again_after_the_reset() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let extension = Program::task(move |variables| {
        let events = events.clone();
        async move {
            let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE", "SHUTDOWN"]).await;
            loop {
                let event = puppet.next().await;
                let over = event["eventType"] == "SHUTDOWN";
                events.send(event).expect("a listening test");
                if over {
                    return;
                }
            }
        }
    });
    let function = puppet::runtime(|event| async move {
        if event["hang"] == true {
            std::future::pending::<()>().await;
        }
        json!({ "statusCode": 200 })
    });
    let sandbox = Sandbox::builder("slow")
        .function(function)
        .extension(EXTENSION, extension)
        .function_timeout(Duration::from_millis(300))
        .start()
        .await;

    let error =
        sandbox.try_invoke(raw_event(json!({ "hang": true }))).await.expect_err("a timeout");
    let reply = sandbox.invoke(raw_event(json!({}))).await;

    assert_eq!(error.kind, FailureKind::Timeout);
    assert_eq!(reply.status, 200);
    let journal = sandbox.journal();
    assert_eq!(journal.exit(&Party::Runtime), Some(Exit::Signal(9)));
    assert_eq!(journal.count(|what| matches!(what, What::Register { status: 200, .. })), 2);
    let invoke = seen.recv().await.expect("INVOKE");
    assert_eq!(invoke["requestId"], error.request_id);
    let shutdown = seen.recv().await.expect("SHUTDOWN");
    assert_eq!(shutdown["shutdownReason"], "timeout");
}

#[tokio::test]
async fn an_extension_that_ends_fails_the_invocation_and_the_next_one_works() {
    let starts = Arc::new(AtomicU32::new(0));
    let extension = Program::task(move |variables| {
        let first = starts.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE"]).await;
            puppet.next().await;
            if first {
                return;
            }
            loop {
                puppet.next().await;
            }
        }
    });
    let function = puppet::runtime(|event| async move {
        if event["wait"] == true {
            std::future::pending::<()>().await;
        }
        json!({ "statusCode": 200 })
    });
    let sandbox =
        Sandbox::builder("echo").function(function).extension(EXTENSION, extension).start().await;

    let error = sandbox.try_invoke(raw_event(json!({ "wait": true }))).await.expect_err("a crash");
    let next = sandbox.invoke(raw_event(json!({}))).await;

    assert_eq!(error.kind, FailureKind::ExtensionCrash);
    assert_eq!(next.status, 200);
}

#[tokio::test]
async fn exit_error_fails_the_invocation() {
    let extension = Program::task(|variables| async move {
        let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE"]).await;
        puppet.next().await;
        puppet.error("exit").await;
        std::future::pending().await
    });
    let function = puppet::runtime(|_| std::future::pending());
    let sandbox =
        Sandbox::builder("echo").function(function).extension(EXTENSION, extension).start().await;

    let error = sandbox.try_invoke(raw_event(json!({}))).await.expect_err("a failure");

    assert_eq!(error.kind, FailureKind::ExtensionExitError);
    let exit = |what: &What| matches!(what, What::ExtensionExitError { status: 202, .. });
    assert_eq!(sandbox.journal().count(exit), 1);
}

#[tokio::test]
async fn a_failed_init_is_tried_again_by_the_next_invocation() {
    let starts = Arc::new(AtomicU32::new(0));
    let extension = Program::task(move |variables| {
        let first = starts.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE"]).await;
            if first {
                puppet.error("init").await;
                return;
            }
            loop {
                puppet.next().await;
            }
        }
    });
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).launch().await;

    sandbox.reaches(Phase::Off).await;
    let reply = sandbox.invoke(raw_event(json!({ "a": 1 }))).await;

    assert_eq!(reply.json, json!({ "a": 1 }));
    let inits = |what: &What| matches!(what, What::InitEnded { succeeded: false });
    assert_eq!(sandbox.journal().count(inits), 1);
}

#[tokio::test]
async fn an_extension_that_stays_after_shutdown_is_killed_at_the_limit() {
    let extension = Program::task(|variables| async move {
        let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE", "SHUTDOWN"]).await;
        puppet.next().await;
        std::future::pending().await
    });
    let limit = Duration::from_millis(200);
    let sandbox = Sandbox::builder("echo")
        .function(echo())
        .extension(EXTENSION, extension)
        .shutdown_limit(limit, limit / 2)
        .start()
        .await;

    let ended = sandbox.shutdown().await;

    assert!(ended.took >= limit, "{ended:?}");
    let exit = sandbox.journal().exit(&Party::Extension(EXTENSION.to_owned()));
    assert_eq!(exit, Some(Exit::Signal(9)));
}

#[tokio::test]
async fn a_binary_gets_sigterm_and_then_its_whole_group_is_killed() {
    // The script stays at SIGTERM, and what it has started would stay even longer.
    let stubborn = script("trap 'echo got it' TERM\necho up\nwhile :; do sleep 0.01; done");
    // The runtime's calls come from a task of the test: the script speaks no HTTP.
    let (next, mut called) = mpsc::unbounded_channel();
    let extension = Program::task(move |variables| {
        let next = next.clone();
        async move {
            let puppet = Puppet::register(&variables, EXTENSION, &["SHUTDOWN"]).await;
            next.send(variables["AWS_LAMBDA_RUNTIME_API"].clone()).expect("a listening test");
            puppet.next().await;
        }
    });
    let limit = Duration::from_millis(300);
    let sandbox = Sandbox::builder("stubborn")
        .function(stubborn.program.clone())
        .extension(EXTENSION, extension)
        .freezing(false)
        .shutdown_limit(2 * limit, limit)
        .launch()
        .await;
    let api = called.recv().await.expect("an address");
    let url = format!("http://{api}/2018-06-01/runtime/invocation/next");
    let waiting = tokio::spawn(async move { get(&url, &[]).await.map(drop) });
    sandbox.reaches(Phase::Ready).await;
    sandbox.function_log_line("up").await;

    let ended = sandbox.shutdown().await;
    waiting.abort();

    assert_eq!(ended.function, Some(Exit::Signal(9)));
    assert!(ended.took >= limit, "{ended:?}");
    assert!(sandbox.function_log_lines().contains(&"got it".to_owned()));
}

#[tokio::test]
async fn responses_are_taken_once_for_the_right_invocation_and_up_to_six_megabytes() {
    let (statuses, mut seen) = mpsc::unbounded_channel();
    let function = Program::task(move |variables| {
        let statuses = statuses.clone();
        async move {
            let base = format!(
                "http://{}/2018-06-01/runtime/invocation",
                variables["AWS_LAMBDA_RUNTIME_API"]
            );
            loop {
                let event = get(&format!("{base}/next"), &[]).await.expect("an event");
                let id = event.header("lambda-runtime-aws-request-id").expect("an id");
                let response = format!("{base}/{id}/response");
                let stranger = format!("{base}/{}/response", uuid::Uuid::new_v4());
                let size = event.json()["size"].as_u64().expect("a size") as usize;
                for url in [&stranger, &response, &response] {
                    let reply = post(url, &[], vec![b'1'; size]).await.expect("an answer");
                    statuses.send(reply.status.as_u16()).expect("a listening test");
                }
            }
        }
    });
    let sandbox = Sandbox::builder("big").without_extension().function(function).start().await;

    let most = 6 * 1024 * 1024;
    let fits = sandbox.try_invoke(raw_event(json!({ "size": most }))).await;
    let too_large = sandbox.try_invoke(raw_event(json!({ "size": most + 101 }))).await;

    assert_eq!(fits.expect("a reply").payload.len(), most);
    assert_eq!(too_large.expect_err("too large").kind, FailureKind::ResponseTooLarge);
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(seen.recv().await.expect("a status"));
    }
    assert_eq!(all, [400, 202, 400, 400, 413, 400]);
}

#[tokio::test]
async fn function_and_extension_get_the_variables_that_lambda_gives_them() {
    let (variables, mut seen) = mpsc::unbounded_channel();
    let (of_function, of_extension) = (variables.clone(), variables);
    let function = Program::task(move |variables| {
        of_function.send(("function", variables)).expect("a listening test");
        std::future::pending()
    });
    let extension = Program::task(move |variables| {
        let seen = of_extension.clone();
        async move {
            seen.send(("extension", variables.clone())).expect("a listening test");
            let puppet = Puppet::register(&variables, EXTENSION, &[]).await;
            puppet.next().await;
        }
    });
    let builder = Sandbox::builder("echo").env("HONEYCOMB_API_KEY", "k");
    let _sandbox = builder.function(function).extension(EXTENSION, extension).launch().await;

    let (first, extension) = seen.recv().await.expect("variables");
    let (second, function) = seen.recv().await.expect("variables");

    assert_eq!((first, second), ("extension", "function"));
    let shared = ["HONEYCOMB_API_KEY", "TMPDIR", "AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME"];
    assert!(
        shared.iter().all(|name| function.contains_key(*name) && extension.contains_key(*name))
    );
    let hidden =
        ["_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"];
    assert!(
        hidden.iter().all(|name| function.contains_key(*name) && !extension.contains_key(*name))
    );
}
