//! The page that says what is wrong, and its exit code.

use cruddur_tests::honeycomb::auth;
use cruddur_tests::{Answer, Cli, Honeycomb, Printed, moto};
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
    assert!(hold["text"].as_str().expect("a text").contains("250ms"), "{hold}");
    assert_eq!(variable(&printed, "CRUDDUR_FLUSH")["level"], "misconfigured");
    let misspelt = variable(&printed, "CRUDDUR_FLUHS");
    assert!(misspelt["text"].as_str().expect("a text").contains("misspelt"), "{misspelt}");
    assert_eq!(variable(&printed, "CRUDDUR_SPOOL_BYTES")["is_set"], false);
    assert_eq!(findings(&printed, "console").len(), 1);
}

#[tokio::test]
async fn on_lambda_without_any_key_it_says_what_is_missing() {
    let page = Cli::new(&["doctor"]).env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001").run().await;

    assert_eq!(page.code, 1);
    assert!(page.out.contains("set HONEYCOMB_API_KEY"), "{}", page.out);
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
    assert_eq!((request.path.as_str(), request.body.len()), ("/v1/traces", 0));
    assert!(!printed.out.contains("hidden"));
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
