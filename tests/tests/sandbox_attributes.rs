//! Attributes of the sandbox: its account, its tenant and the resources that it used.

use cruddur_tests::log_group::LogGroup;
use cruddur_tests::otlp::Span;
use cruddur_tests::{Builder, Exit, Honeycomb, Rollbar, Sandbox, What, event};
use serde_json::Value;

const ACCOUNT: &str = "123456789012";

fn sandbox(honeycomb: &Honeycomb) -> Builder {
    Sandbox::builder("home-activities").honeycomb(honeycomb).demo_store()
}

/// Ends the sandbox after two invocations, and returns the statuses of its registrations.
async fn invoke_twice(sandbox: &Sandbox) -> Vec<u16> {
    for _ in 0..2 {
        let reply = sandbox.invoke(event("home-activities")).await;
        assert_eq!(reply.status, 200);
        sandbox.ended(&reply.request_id).await;
    }
    let ended = sandbox.shutdown().await;
    assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", sandbox.story());
    let journal = sandbox.journal();
    let registered = journal.entries().iter().filter_map(|entry| match &entry.what {
        What::Register { status, .. } => Some(*status),
        _ => None,
    });
    registered.collect()
}

fn reports(honeycomb: &Honeycomb) -> Vec<Span> {
    let spans = honeycomb.spans().into_iter();
    spans.filter(|span| span.name == "platform.report").collect()
}

#[tokio::test]
async fn platform_spans_name_the_account_and_where_lambda_refuses_it_nothing_else_is_missing() {
    for (is_given, expected) in [(true, Value::from(ACCOUNT)), (false, Value::Null)] {
        let honeycomb = Honeycomb::start().await;
        let builder = sandbox(&honeycomb);
        let builder = if is_given { builder } else { builder.without_account_id() };
        let sandbox = builder.start().await;

        let registered = invoke_twice(&sandbox).await;

        assert_eq!(registered, if is_given { vec![200] } else { vec![400, 200] });
        let reports = reports(&honeycomb);
        assert_eq!(reports.len(), 2, "{}", sandbox.story());
        for report in reports {
            assert_eq!(report.resource("cloud.account.id"), expected);
        }
    }
}

#[tokio::test]
async fn spans_lines_and_items_name_the_tenant_however_absurd_its_id() {
    let cut = "x".repeat(256);
    for (given, expected) in [("acme", "acme"), (&*"x".repeat(5_000), &*cut)] {
        let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
        let group = LogGroup::new().await;
        let sandbox = sandbox(&honeycomb)
            .rollbar(&rollbar)
            .env("CRUDDUR_LOG_GROUP", &group.name)
            .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &group.proxy.url())
            .tenant(given)
            .start()
            .await;

        let failing = event("home-activities").header("x-cruddur-fault", "panic");
        let failed = sandbox.invoke(failing).await;
        sandbox.ended(&failed.request_id).await;
        invoke_twice(&sandbox).await;

        let key = "aws.lambda.tenant_id";
        let server = honeycomb.server_span(&failed.request_id).await;
        assert_eq!(server.attribute(key), expected);
        for report in reports(&honeycomb) {
            assert_eq!(report.attribute(key), expected);
        }
        let lines = group.lines().await;
        let written: Vec<_> = lines.iter().filter(|line| line["route"].is_string()).collect();
        assert_eq!(written.len(), 3);
        assert!(written.iter().all(|line| line["tenantId"] == expected), "{written:#?}");
        let items = rollbar.items_reach(1).await;
        assert_eq!(items[0]["custom"]["tenant_id"], expected, "{:#}", items[0]);
    }
}

#[tokio::test]
async fn reports_have_the_usage_that_this_machine_gives() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = sandbox(&honeycomb).start().await;

    invoke_twice(&sandbox).await;

    let [first, second] = &reports(&honeycomb)[..] else { panic!("{}", sandbox.story()) };
    for report in [first, second] {
        assert!(report.attribute("aws.lambda.tmp_used_bytes").as_i64() > Some(0), "{report:?}");
    }
    // Since the first sample there is traffic only where an interface beside `lo` is.
    let table = std::fs::read_to_string("/proc/net/dev").expect("the interfaces of this machine");
    let has_others = table.lines().skip(2).any(|line| !line.trim_start().starts_with("lo:"));
    let key = "aws.lambda.received_bytes";
    assert!(first.attribute(key).is_null(), "the bytes of init are in the counter");
    assert_eq!(second.attribute(key).is_null(), !has_others, "{second:?}");
}
