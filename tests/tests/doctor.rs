//! The page that says what is wrong, and its exit code.

mod aws;

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use cruddur_tests::honeycomb::auth;
use cruddur_tests::{Answer, Cli, Honeycomb, Printed, Rollbar, Xray, moto};
use serde_json::{Value, json};

fn doctor() -> Cli {
    Cli::new(&["doctor", "--json"])
}

/// The texts of all findings about one destination, or about the variables.
fn findings(printed: &Printed, of: &str) -> Vec<String> {
    let report = printed.json();
    let destinations = report["destinations"].as_array().expect("destinations");
    let destination = destinations.iter().find(|destination| destination["name"] == of);
    let findings = destination.map(|destination| destination["findings"].clone());
    let text = |finding: &Value| finding["text"].as_str().expect("a text").to_owned();
    findings
        .unwrap_or_default()
        .as_array()
        .map(|all| all.iter().map(text).collect())
        .unwrap_or_default()
}

fn variable(printed: &Printed, name: &str) -> Value {
    let report = printed.json();
    let variables = report["variables"].as_array().expect("variables");
    let found = variables.iter().find(|variable| variable["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not listed")).clone()
}

#[tokio::test]
async fn a_good_key_is_told_with_its_team_its_environment_and_the_round_trip() {
    let honeycomb = Honeycomb::start().await;

    let page = Cli::new(&["doctor"]).honeycomb(&honeycomb).env("CRUDDUR_EXPORTERS", "honeycomb");
    let page = page.run().await;

    assert_eq!((page.code, page.err.as_str()), (0, ""), "{page:?}");
    for told in
        ["team Cruddur", "environment Production", "kind ingest", "answers in ", "All is fine"]
    {
        assert!(page.out.contains(told), "{told}\n{}", page.out);
    }
    assert!(page.out.contains("this machine's clock is right"), "{}", page.out);
    assert!(!page.out.contains(honeycomb.key()), "{}", page.out);
    assert!(!page.out.contains('\x1b'), "colours are for terminals");
    assert!(honeycomb.requests().iter().all(|request| request.path == "/1/auth"));
}

#[tokio::test]
async fn the_cost_of_holds_follows_from_the_mode_and_the_slowest_destination() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::late(Duration::from_millis(300)));

    for (mode, expected) in [
        ("adaptive", "at most 1 % of the time; in sparse traffic"),
        ("end", "for 1000 ms at most"),
        ("periodic,250", "none"),
    ] {
        let printed = doctor().honeycomb(&honeycomb).env("CRUDDUR_FLUSH", mode).run().await;

        let report = printed.json();
        let holds = report["holds"].as_str().expect("a text");
        assert!(holds.contains(expected), "{mode}: {holds}");
    }
    let off = doctor().env("CRUDDUR_EXPORTERS", "console").run().await;
    assert!(off.json()["holds"].is_null(), "{off:?}");
}

#[tokio::test]
async fn a_wrong_key_is_a_misconfiguration() {
    let honeycomb = Honeycomb::start().await;

    let printed =
        doctor().honeycomb(&honeycomb).env("HONEYCOMB_API_KEY", "not-the-key").run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert_eq!(printed.json()["level"], "misconfigured");
    assert!(findings(&printed, "honeycomb")[0].contains("does not know the key"), "{printed:?}");
    assert!(!printed.out.contains("not-the-key"));
}

#[tokio::test]
async fn who_does_not_answer_or_only_that_it_cannot_is_unreachable() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::status(503));

    let broken = doctor().honeycomb(&honeycomb).run().await;
    let refused = doctor()
        .env("HONEYCOMB_API_KEY", "a-key")
        .env("HONEYCOMB_API_ENDPOINT", &Honeycomb::refused())
        .run()
        .await;

    assert_eq!((broken.code, refused.code), (2, 2), "{broken:?} {refused:?}");
    assert!(findings(&broken, "honeycomb")[0].contains("503"), "{broken:?}");
    assert!(findings(&refused, "honeycomb")[0].contains("refused"), "{refused:?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found_by_the_date_of_the_answer() {
    let honeycomb = Honeycomb::start().await;
    let Answer::Canned { status, mut headers, body } = Answer::json(200, &auth("ingest", &[]))
    else {
        unreachable!("it is canned")
    };
    headers.push(("date", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()));
    honeycomb.always(Answer::Canned { status, headers, body });

    let printed = doctor().honeycomb(&honeycomb).run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(findings(&printed, "honeycomb")[2].ends_with("s ahead"), "{printed:?}");
}

#[tokio::test]
async fn a_key_that_may_not_send_is_a_misconfiguration() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::json(200, &auth("configuration", &["boards"])));

    let printed = doctor().honeycomb(&honeycomb).run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(findings(&printed, "honeycomb")[1].contains("may not send events"), "{printed:?}");
}

#[tokio::test]
async fn every_variable_is_listed_with_what_it_means_and_wrong_ones_with_the_reason() {
    let printed = doctor()
        .env("CRUDDUR_MAX_HOLD_MS", "250")
        .env("CRUDDUR_FLUSH", "sometimes")
        .env("CRUDDUR_FLUHS", "end")
        .run()
        .await;

    assert_eq!(printed.code, 1);
    let hold = variable(&printed, "CRUDDUR_MAX_HOLD_MS");
    assert_eq!(hold["is_set"], true);
    assert_eq!(hold["text"], "250");
    assert!(hold["meaning"].as_str().expect("a text").contains("milliseconds"), "{hold}");
    assert_eq!(variable(&printed, "CRUDDUR_FLUSH")["level"], "misconfigured");
    let misspelt = variable(&printed, "CRUDDUR_FLUHS");
    assert_eq!(misspelt["level"], "warning");
    assert!(misspelt["text"].as_str().expect("a text").contains("misspelt"), "{misspelt}");
    let spool = variable(&printed, "CRUDDUR_SPOOL_BYTES");
    assert_eq!((&spool["is_set"], &spool["text"]), (&json!(false), &json!("67108864")));
    assert_eq!(findings(&printed, "console").len(), 1);
}

#[tokio::test]
async fn without_any_key_it_says_what_is_missing_on_lambda_and_elsewhere() {
    let on_lambda = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
    for (name, value) in [on_lambda, ("HONEYCOMB_APIKEY", "abc"), ("TERM", "dumb")] {
        let page = Cli::new(&["doctor"]).env(name, value).run().await;

        assert_eq!(page.code, 1, "{}", page.out);
        assert!(page.out.contains("nothing leaves this machine"), "{}", page.out);
        assert!(page.out.contains("set HONEYCOMB_API_KEY"), "{}", page.out);
    }
}

#[tokio::test]
async fn a_console_that_was_asked_for_is_enough_and_a_strange_variable_only_marked() {
    let page = Cli::new(&["doctor"]).env("CRUDDUR_EXPORTERS", "console");
    let page = page.env("CRUDDUR_TABLE", "cruddur").run().await;

    assert_eq!(page.code, 0, "{}", page.out);
    assert!(page.out.contains("! CRUDDUR_TABLE"), "{}", page.out);
}

#[tokio::test]
async fn every_problem_of_a_variable_is_reported_and_counted() {
    let page = Cli::new(&["doctor"]).env("CRUDDUR_EXPORTERS", "honeycomb,xray,rollbar").run().await;

    assert_eq!(page.code, 1, "{}", page.out);
    for needed in ["HONEYCOMB_API_KEY", "AWS_REGION", "ROLLBAR_ACCESS_TOKEN"] {
        assert!(page.out.contains(&format!("which needs {needed}")), "{needed}\n{}", page.out);
    }
    // CRUDDUR_EXPORTERS, and the missing destination.
    assert!(page.out.ends_with("\n2 problems found, marked ✗.\n"), "{}", page.out);
}

#[tokio::test]
async fn a_classic_key_without_a_dataset_is_a_misconfiguration_wherever_it_is_kept() {
    let honeycomb = Honeycomb::start().await;
    let mut classic = auth("ingest", &[]);
    classic["environment"] = json!({ "name": "", "slug": "" });
    honeycomb.always(Answer::json(200, &classic));

    let without = doctor().honeycomb(&honeycomb).run().await;
    let with = doctor().honeycomb(&honeycomb).env("HONEYCOMB_DATASET", "cruddur").run().await;

    assert_eq!((without.code, with.code), (1, 0), "{without:?} {with:?}");
    let told = &findings(&without, "honeycomb")[1];
    assert!(told.contains("needs HONEYCOMB_DATASET"), "{told}");
}

#[tokio::test]
async fn a_token_that_rollbar_refuses_is_a_misconfiguration() {
    let rollbar = Rollbar::start().await;
    let doctor = || doctor().env("ROLLBAR_ENDPOINT", &rollbar.url());

    let right = doctor().env("ROLLBAR_ACCESS_TOKEN", rollbar.token()).run().await;
    let wrong = doctor().env("ROLLBAR_ACCESS_TOKEN", "not-the-token").run().await;

    assert_eq!((right.code, wrong.code), (0, 1), "{right:?} {wrong:?}");
    assert!(findings(&wrong, "rollbar")[1].contains("403"), "{wrong:?}");
    assert!(!wrong.out.contains("not-the-token"), "{wrong:?}");
    assert_eq!(rollbar.items().len(), 0);
}

#[tokio::test]
async fn x_rays_open_ways_are_shown_with_the_command_that_opens_the_other() {
    let command = "aws xray update-trace-segment-destination --destination CloudWatchLogs";
    let role = "the function's role needs xray:PutSpans";
    let (off, on, denied) = (Xray::start().await, Xray::start().await, Xray::start().await);
    on.transaction_search(true);
    denied.transaction_search(true);
    denied.deny_spans();
    for (transport, xray, code, texts) in [
        ("auto", &off, 0, &["accepts segments", command][..]),
        ("auto", &on, 0, &["accepts segments", "accepts OTLP, which a sandbox uses"]),
        ("auto", &denied, 0, &["accepts segments", role]),
        ("segments", &off, 0, &["accepts segments", command]),
        ("segments", &on, 0, &["accepts segments", "CRUDDUR_XRAY_TRANSPORT=otlp uses it"]),
        ("otlp", &off, 1, &[command]),
        ("otlp", &on, 0, &["accepts OTLP"]),
        ("otlp", &denied, 1, &[role]),
    ] {
        let page = doctor().aws().env("CRUDDUR_EXPORTERS", "xray");
        let page = page.env("AWS_ENDPOINT_URL_XRAY", &xray.url());
        let page = page.env("CRUDDUR_XRAY_TRANSPORT", transport).run().await;

        let mut found = findings(&page, "xray");
        let way = found.pop().expect("a finding");
        assert_eq!(way, format!("requests go to {} directly", xray.url()));
        assert_eq!((page.code, found.len()), (code, texts.len()), "{transport}: {page:?}");
        let pairs = found.iter().zip(texts);
        assert!(pairs.clone().all(|(found, text)| found.contains(text)), "{transport}: {found:?}");
    }
    assert!(on.spans().is_empty());
}

/// What `aws lambda get-function-configuration` prints.
fn function(variables: Value) -> String {
    let arn = "arn:aws:lambda:eu-west-3:123456789012:function:home-activities";
    let environment = json!({ "Variables": variables });
    json!({
        "FunctionName": "home-activities", "FunctionArn": arn, "Version": "$LATEST",
        "Environment": environment,
    })
    .to_string()
}

#[tokio::test]
async fn a_functions_variables_take_the_place_of_its_own() {
    let honeycomb = Honeycomb::start().await;
    let variables = json!({
        "HONEYCOMB_API_KEY": honeycomb.key(),
        "HONEYCOMB_API_ENDPOINT": honeycomb.url(),
        "OTEL_SERVICE_NAME": "with blanks; and $(more)",
    });

    let printed = Cli::new(&["doctor", "--json", "--variables", "-"])
        .env("HONEYCOMB_API_KEY", "not-the-key")
        .env("CRUDDUR_MAX_HOLD_MS", "no number")
        .input(function(variables))
        .run()
        .await;

    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{printed:?}");
    let text =
        |name: &str| variable(&printed, name)["text"].as_str().unwrap_or_default().to_owned();
    assert!(text("OTEL_SERVICE_NAME").ends_with("with blanks; and $(more)"));
    assert_eq!(text("AWS_LAMBDA_FUNCTION_NAME"), "home-activities");
    assert_eq!(text("AWS_REGION"), "eu-west-3");
    assert_eq!(variable(&printed, "CRUDDUR_MAX_HOLD_MS")["is_set"], false);
    assert_eq!(findings(&printed, "console").len(), 0, "as on Lambda");
}

#[tokio::test]
async fn an_invalid_description_of_a_function_is_reported() {
    let locked = json!({
        "FunctionName": "a", "Environment": { "Error": { "ErrorCode": "AccessDeniedException" } },
    });
    for (input, problem) in [
        ("", "not JSON"),
        ("{\"HONEYCOMB_API_KEY\":\"hidden\"}", "not the configuration of a function"),
        (&locked.to_string(), "could not be decrypted"),
    ] {
        let printed = Cli::new(&["doctor", "--variables", "-"]).input(input).run().await;

        assert_eq!((printed.code, printed.out.as_str()), (1, ""), "{printed:?}");
        assert!(printed.err.contains(problem), "{printed:?}");
        assert!(!printed.err.contains("hidden"), "{printed:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_text_is_not_taken_for_none() {
    let key = std::ffi::OsStr::from_bytes(b"k\xffey");

    let printed = doctor().env_of_bytes("HONEYCOMB_API_KEY", key).run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert_eq!(variable(&printed, "HONEYCOMB_API_KEY")["level"], "misconfigured");
}

#[tokio::test]
async fn another_backend_is_asked_with_an_empty_request() {
    let backend = Honeycomb::without_key().await;

    let printed = doctor()
        .env("HONEYCOMB_API_ENDPOINT", &backend.url())
        .env("CRUDDUR_OTLP_HEADERS", "authorization=Bearer hidden")
        .run()
        .await;

    assert_eq!(printed.code, 0, "{printed:?}");
    let request = &backend.requests()[0];
    let body = request.decoded().expect("a known encoding");
    assert_eq!((request.path.as_str(), body.len()), ("/v1/traces", 0));
    assert_eq!(request.header("content-encoding"), Some("zstd"), "as batches are sent");
    assert!(!printed.out.contains("hidden"));
}

#[tokio::test]
async fn the_encoding_of_batches_is_tried_at_another_backend() {
    let backend = Honeycomb::without_key().await;
    let doctor = || {
        doctor()
            .env("HONEYCOMB_API_ENDPOINT", &backend.url())
            .env("CRUDDUR_OTLP_HEADERS", "authorization=Bearer hidden")
    };
    backend.next_answer(Answer::status(415));
    let with_gzip = doctor().run().await;
    backend.next_answer(Answer::status(415));
    let configured = doctor().env("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd").run().await;

    assert_eq!((with_gzip.code, configured.code), (0, 1), "{with_gzip:?} {configured:?}");
    assert!(findings(&with_gzip, "honeycomb")[1].contains("gzip"), "{with_gzip:?}");
    assert!(findings(&configured, "honeycomb")[0].contains("415"), "{configured:?}");
}

#[tokio::test]
async fn a_key_that_aws_keeps_is_fetched_and_its_place_is_told() {
    let honeycomb = Honeycomb::start().await;
    let arn = moto::secret(
        &moto::unique("honeycomb"),
        json!({ "SecretString": json!({ "key": honeycomb.key() }).to_string() }),
    )
    .await;

    let printed = doctor()
        .aws()
        .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
        .env("HONEYCOMB_API_KEY_SECRET", &format!("{arn}:key"))
        .run()
        .await;

    assert_eq!(printed.code, 0, "{printed:?}");
    let secret = variable(&printed, "HONEYCOMB_API_KEY_SECRET");
    assert!(secret["text"].as_str().expect("a text").contains(&arn), "{secret}");
    assert!(!printed.out.contains(honeycomb.key()));
}
