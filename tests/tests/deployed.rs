//! A deploy at Honeycomb and Rollbar, and the revision by which they find it.

use cruddur_tests::honeycomb::auth;
use cruddur_tests::{Answer, Cli, Honeycomb, HoneycombApi, Rollbar, Sandbox, event};
use serde_json::{Value, json};

use crate::rollbar::other_language::{other_language, server, traces};

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
const URL: &str = "https://github.com/acme/cruddur/pull/7";

fn deployed(more: &[&str]) -> Cli {
    Cli::new(&[&["deployed", "--revision", REVISION], more].concat())
}

fn to_honeycomb(cli: Cli, honeycomb: &HoneycombApi) -> Cli {
    cli.env("HONEYCOMB_CONFIGURATION_KEY", honeycomb.key())
        .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
}

fn to_rollbar(cli: Cli, rollbar: &Rollbar) -> Cli {
    cli.env("ROLLBAR_ACCESS_TOKEN", rollbar.token()).env("ROLLBAR_ENDPOINT", &rollbar.url())
}

#[tokio::test]
async fn a_deploy_is_a_marker_of_the_environment_and_a_deploy_at_rollbar() {
    let (honeycomb, rollbar) = (HoneycombApi::start(&["markers"]).await, Rollbar::start().await);
    let cli = to_rollbar(to_honeycomb(deployed(&["--url", URL]), &honeycomb), &rollbar);

    let printed = cli.env("ROLLBAR_ENVIRONMENT", "staging").run().await;

    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{printed:?}");
    let message = format!("deploy {REVISION}");
    let marker = json!({ "message": message, "type": "deploy", "url": URL });
    assert_eq!(honeycomb.markers(), [("__all__".to_owned(), marker)]);
    let expected = json!({
        "environment": "staging", "revision": REVISION, "status": "succeeded", "comment": URL,
    });
    assert_eq!(rollbar.deploys(), [expected]);
    assert_eq!(
        printed.out,
        format!(
            "honeycomb: marker \"deploy {REVISION}\" in the environment Production\n\
             rollbar: deploy of {REVISION} to the environment staging\n"
        )
    );
}

#[tokio::test]
async fn a_marker_is_of_the_named_dataset_or_of_the_services_where_environments_have_none() {
    let honeycomb = HoneycombApi::start(&["markers"]).await;
    for dataset in ["cruddur", "my-service"] {
        honeycomb.add_dataset(dataset);
    }

    let named = to_honeycomb(deployed(&["--dataset", "cruddur"]), &honeycomb).run().await;
    let unknown = to_honeycomb(deployed(&["--dataset", "crudder"]), &honeycomb).run().await;
    honeycomb.without_environment_markers();
    let service = to_honeycomb(deployed(&[]), &honeycomb).env("OTEL_SERVICE_NAME", "My Service");
    let service = service.run().await;
    honeycomb.next_answer(Answer::json(200, &classic()));
    let classic = to_honeycomb(deployed(&[]), &honeycomb).env("OTEL_SERVICE_NAME", "cruddur");
    let classic = classic.run().await;

    assert_eq!((named.code, unknown.code, service.code, classic.code), (0, 1, 0, 0), "{service:?}");
    assert!(unknown.err.contains("there is no dataset crudder"), "{unknown:?}");
    let places: Vec<_> = honeycomb.markers().into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["cruddur", "my-service", "cruddur"]);
    let calls = honeycomb.calls();
    let calls = &calls[calls.len() - 2..];
    assert_eq!(calls, ["GET /1/auth", "POST /1/markers/cruddur"], "a classic key has no __all__");
}

fn classic() -> Value {
    let mut classic = auth("configuration", &["markers"]);
    classic["environment"] = json!({ "name": "", "slug": "" });
    classic
}

#[tokio::test]
async fn a_destination_without_a_key_is_left_out_and_without_any_nothing_is_recorded() {
    let rollbar = Rollbar::start().await;

    let one = to_rollbar(deployed(&[]), &rollbar).run().await;
    let none = deployed(&[]).run().await;

    assert_eq!((one.code, none.code), (0, 1), "{one:?} {none:?}");
    assert_eq!(rollbar.deploys().len(), 1);
    assert!(one.out.starts_with("honeycomb: left out, since HONEYCOMB_"), "{one:?}");
    assert!(none.out.contains("rollbar: left out, since ROLLBAR_ACCESS_TOKEN"), "{none:?}");
}

#[tokio::test]
async fn a_refusal_of_one_destination_does_not_keep_the_other_from_its_record() {
    let rollbar = Rollbar::start().await;
    let no_permission = HoneycombApi::start(&["boards"]).await;
    let poor = to_rollbar(to_honeycomb(deployed(&[]), &no_permission), &rollbar).run().await;
    let honeycomb = HoneycombApi::start(&["markers"]).await;
    let wrong = to_rollbar(to_honeycomb(deployed(&[]), &honeycomb), &rollbar);
    let wrong = wrong.env("ROLLBAR_ACCESS_TOKEN", "wrong").run().await;
    let odd = to_rollbar(deployed(&[]), &rollbar).env("ROLLBAR_ENDPOINT", "http://127.0.0.1:9/x");
    let odd = odd.run().await;
    let mut invalid = to_rollbar(deployed(&[]), &rollbar);
    invalid = invalid.env("HONEYCOMB_API_KEY", "a-key").env("HONEYCOMB_API_ENDPOINT", "nowhere");
    let invalid = invalid.run().await;

    for (printed, reason) in [
        (&poor, "honeycomb: this configuration key lacks the permission Manage Markers"),
        (&wrong, "rollbar: 403 Forbidden: Rollbar refuses the token"),
        (&odd, "rollbar: ROLLBAR_ENDPOINT does not end with /item/"),
        (&invalid, "honeycomb: HONEYCOMB_API_ENDPOINT is not"),
    ] {
        assert_eq!(printed.code, 1, "{printed:?}");
        assert!(printed.err.contains(reason), "{reason}: {printed:?}");
    }
    assert_eq!((rollbar.deploys().len(), honeycomb.markers().len()), (2, 1));
}

#[tokio::test]
async fn a_destination_that_does_not_answer_has_a_code_of_its_own() {
    let (honeycomb, rollbar) = (HoneycombApi::start(&["markers"]).await, Rollbar::start().await);
    rollbar.always(Answer::status(503));
    let busy = to_rollbar(to_honeycomb(deployed(&[]), &honeycomb), &rollbar).run().await;
    let dead = to_rollbar(deployed(&[]), &rollbar);
    let dead = dead.env("ROLLBAR_ENDPOINT", "http://127.0.0.1:1/api/1/item/").run().await;

    assert_eq!((busy.code, dead.code), (2, 2), "{busy:?} {dead:?}");
    assert_eq!(honeycomb.markers().len(), 1, "and the other one has its record");
    assert!(busy.err.contains("503") && dead.err.contains("refused"), "{busy:?} {dead:?}");
}

#[tokio::test]
async fn wrong_arguments_are_usage_errors_and_a_missing_revision_is_named() {
    for (arguments, named) in [
        (&["--revision", "two words"][..], "two words"),
        (&["--revision", &"a".repeat(41)], "1 to 40"),
        (&["--revision", "a", "--url", "ftp://x"], "ftp://x"),
        (&["--revision", "a", "--url", "https://user:hidden@x"], "without a user"),
        (&["--revision", "a", "--dataset", "a/b"], "a/b"),
        (&["--revision", "a", "--colour"], "--colour"),
    ] {
        let refused = Cli::new(&[&["deployed"], arguments].concat()).run().await;

        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{refused:?}");
        assert!(refused.err.contains(named), "{named}: {refused:?}");
    }
    let rollbar = Rollbar::start().await;
    let missing = to_rollbar(Cli::new(&["deployed"]), &rollbar).run().await;
    let known = to_rollbar(Cli::new(&["deployed"]), &rollbar).env("CRUDDUR_REVISION", "v7");
    let known = known.run().await;
    let help = Cli::new(&["deployed", "--help"]).run().await;

    assert_eq!((missing.code, known.code, help.code), (1, 0, 0), "{missing:?} {known:?}");
    assert!(missing.err.contains("CRUDDUR_REVISION"), "{missing:?}");
    assert_eq!(rollbar.deploys()[0]["revision"], "v7");
    assert!(help.out.contains("Manage Markers"), "{help:?}");
}

#[tokio::test]
async fn the_revision_is_the_version_of_our_functions_everywhere() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let sandbox = Sandbox::builder("rollbar-test").honeycomb(&honeycomb).rollbar(&rollbar);
    let sandbox = sandbox.env("CRUDDUR_REVISION", REVISION).start().await;

    let reply = sandbox.invoke(event("rollbar-test")).await;
    sandbox.shutdown().await;

    let server = honeycomb.server_span(&reply.request_id).await;
    let spans = honeycomb.trace(&server.trace_id);
    assert!(spans.iter().any(|span| span.name == "platform.report"), "{spans:#?}");
    for span in &spans {
        assert_eq!(span.resource("service.version"), REVISION, "{span:?}");
    }
    assert_eq!(rollbar.items()[0]["code_version"], REVISION);
    assert_eq!(rollbar.items()[0]["server"]["code_version"], REVISION);
}

#[tokio::test]
async fn the_revision_is_the_version_of_a_function_that_sends_none_and_no_other_is_replaced() {
    for (version, expected) in [(None, REVISION), (Some("1.0"), "1.0")] {
        let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
        let sandbox = Sandbox::builder("shop").honeycomb(&honeycomb).rollbar(&rollbar);
        let sandbox = sandbox.env("CRUDDUR_REVISION", REVISION).function(other_language());
        let sandbox = sandbox.start().await;
        let failing = traces(vec![server(json!({ "http.response.status_code": 503 }), &[])]);
        let mut payload = failing.payload().clone();
        if let Some(version) = version {
            let attributes = &mut payload["traces"]["resourceSpans"][0]["resource"]["attributes"];
            let own = json!({ "key": "service.version", "value": { "stringValue": version } });
            attributes.as_array_mut().expect("attributes").push(own);
        }

        let reply = sandbox.invoke(cruddur_tests::raw_event(payload)).await;
        sandbox.shutdown().await;

        let server = honeycomb.server_span(&reply.request_id).await;
        assert_eq!(server.resource("service.version"), expected);
        assert_eq!(rollbar.items()[0]["code_version"], expected);
    }
}
