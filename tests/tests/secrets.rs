//! Keys that AWS keeps: fetched when first needed, fetched anew when refused, never printed.

use cruddur_tests::{Answer, Builder, Cli, Exit, Honeycomb, Printed, Proxy, Sandbox, event, moto};
use serde_json::json;

/// A sandbox whose extension has to fetch its key.
fn sandbox(honeycomb: &Honeycomb, secret: &str) -> Builder {
    Sandbox::builder("home-activities")
        .demo_store()
        .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
        .env("AWS_ENDPOINT_URL", moto::url())
        .env("HONEYCOMB_API_KEY_SECRET", secret)
}

/// What `doctor` says where this is the secret.
async fn doctor(secret: &str) -> Printed {
    let cli = Cli::new(&["doctor"]).aws().env("HONEYCOMB_API_ENDPOINT", "http://127.0.0.1:9");
    cli.env("HONEYCOMB_API_KEY_SECRET", secret).run().await
}

async fn secret_of(fields: serde_json::Value) -> String {
    moto::secret(&moto::unique("secret"), fields).await
}

#[tokio::test]
async fn a_field_of_a_secret_is_the_key() {
    let honeycomb = Honeycomb::start().await;
    let text = json!({ "other": "x", "key": honeycomb.key() }).to_string();
    let arn = secret_of(json!({ "SecretString": text })).await;
    let sandbox = sandbox(&honeycomb, &format!("{arn}:key")).start().await;

    let reply = sandbox.invoke(event("home-activities")).await;

    honeycomb.server_span(&reply.request_id).await;
    sandbox.shutdown().await;
    assert!(!sandbox.extension_log_lines().concat().contains(honeycomb.key()));
}

#[tokio::test]
async fn an_encrypted_parameter_is_the_key_also_with_a_line_end_behind_it() {
    let honeycomb = Honeycomb::start().await;
    let name = format!("/{}", moto::unique("cruddur"));
    moto::parameter(&name, &format!("{}\n", honeycomb.key())).await;
    let sandbox = sandbox(&honeycomb, &name).start().await;

    let reply = sandbox.invoke(event("home-activities")).await;

    honeycomb.server_span(&reply.request_id).await;
}

#[tokio::test]
async fn a_key_that_was_changed_is_fetched_anew_when_the_old_one_is_refused() {
    let honeycomb = Honeycomb::start().await;
    let arn = secret_of(json!({ "SecretString": "the-old-key" })).await;
    let sandbox = sandbox(&honeycomb, &arn).start().await;
    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&reply.request_id).await;
    honeycomb.requests_reach(1).await;
    moto::change_secret(&arn, honeycomb.key()).await;

    let ended = sandbox.shutdown().await;

    assert_eq!(ended.extension, Some(Exit::Code(0)));
    honeycomb.server_span(&reply.request_id).await;
    let requests = honeycomb.requests();
    assert_eq!(requests[0].status, Some(401));
    let log = sandbox.extension_log_lines().concat();
    assert!(!log.contains("the-old-key") && !log.contains(honeycomb.key()), "{log}");
}

#[tokio::test]
async fn nothing_is_fetched_before_the_first_invocation() {
    let (honeycomb, aws) = (Honeycomb::start().await, Proxy::start(moto::url()).await);
    let arn = secret_of(json!({ "SecretString": honeycomb.key() })).await;
    let builder = sandbox(&honeycomb, &arn).env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &aws.url());
    let sandbox = builder.start().await;

    let before = aws.connections();
    let first = sandbox.invoke(event("home-activities")).await;
    honeycomb.server_span(&first.request_id).await;
    let second = sandbox.invoke(event("home-activities")).await;
    honeycomb.server_span(&second.request_id).await;

    assert_eq!((before, aws.requests().len()), (0, 1), "once, and then kept");
}

#[tokio::test]
async fn what_cannot_be_a_key_is_named_by_its_place_and_never_shown() {
    let name = moto::unique("secret");
    for (secret, problem) in [
        (secret_of(json!({ "SecretBinary": "aGlkZGVu" })).await, "is binary"),
        (secret_of(json!({ "SecretString": "hidden\nhidden" })).await, "no HTTP header can carry"),
        (secret_of(json!({ "SecretString": " \n" })).await, "is empty"),
        (secret_of(json!({ "SecretString": "hidden" })).await + ":key", "is not JSON"),
        (secret_of(json!({ "SecretString": "{\"a\":\"hidden\"}" })).await + ":key", "has no field"),
        (
            format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}"),
            "does not exist",
        ),
        (format!("/{name}"), "does not exist"),
        (secret_of(json!({ "SecretString": "{\"a\":\"hidden\"}" })).await, "name the field"),
        ("0123456789abcdef0123456789hidden".replace("hidden", "abcdef"), "seems to be a key"),
        ("arn:aws:ssm::123456789012:parameter/a".to_owned(), "without a region"),
        ("arn:aws:s3:::bucket".to_owned(), "neither a secret nor a parameter"),
    ] {
        let page = doctor(&secret).await;

        assert_eq!(page.code, 1, "{page:?}");
        assert!(page.out.contains(problem), "{problem}\n{}", page.out);
        assert!(!page.out.contains("hidden"), "{}", page.out);
    }
}

#[tokio::test]
async fn a_denied_or_missing_answer_of_aws_is_told_from_each_other() {
    let aws = Proxy::start(moto::url()).await;
    let ask = |cli: Cli| cli.env("HONEYCOMB_API_KEY_SECRET", "/a/parameter");
    let denied = json!({ "__type": "AccessDeniedException", "Message": "User: … is not authorized to perform: kms:Decrypt" });
    aws.always(Answer::json(400, &denied));

    let cli = Cli::new(&["doctor"]).aws().env("AWS_ENDPOINT_URL_SSM", &aws.url());
    let denied = ask(cli).run().await;
    let cli = Cli::new(&["doctor"]).aws().env("AWS_ENDPOINT_URL_SSM", &Honeycomb::refused());
    let dead = ask(cli).run().await;
    let no_region = ask(Cli::new(&["doctor"])).run().await;
    let no_credentials = ask(Cli::new(&["doctor"]).env("AWS_REGION", "eu-west-1")).run().await;

    assert_eq!((denied.code, dead.code), (1, 2), "{denied:?} {dead:?}");
    assert!(denied.out.contains("allow ssm:GetParameter"), "{}", denied.out);
    assert!(denied.out.contains("is not authorized to perform: kms:Decrypt"), "{}", denied.out);
    assert!(dead.out.contains("asking the Parameter Store at http://127."), "{}", dead.out);
    assert_eq!((no_region.code, no_credentials.code), (1, 1));
    assert!(no_region.out.contains("set AWS_REGION"), "{}", no_region.out);
    assert!(no_credentials.out.contains("AWS_ACCESS_KEY_ID"), "{}", no_credentials.out);
}

#[tokio::test]
async fn an_aws_that_fails_or_is_none_is_told_from_one_that_refuses() {
    let ask = async |answer: Answer| {
        let aws = Proxy::start(moto::url()).await;
        aws.always(answer);
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a";
        let url = aws.url();
        let doctor = Cli::new(&["doctor"]).aws().env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url);
        doctor.env("HONEYCOMB_API_KEY_SECRET", secret).run().await
    };
    let kind = |kind: &str| json!({ "__type": kind, "message": "said" });

    let broken = ask(Answer::json(500, &kind("InternalServiceError"))).await;
    let away = ask(Answer::status(503)).await;
    let busy = ask(Answer::json(400, &kind("ThrottlingException"))).await;
    let page = ask(Answer::Canned {
        status: 200,
        headers: vec![("content-type", "text/html".to_owned())],
        body: "<html>Welcome</html>".into(),
    });
    let page = page.await;

    for failed in [broken, away, busy] {
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(failed.out.contains("asking Secrets Manager failed: "), "{}", failed.out);
    }
    assert_eq!(page.code, 1, "{page:?}");
    assert!(page.out.contains("is not Secrets Manager"), "{}", page.out);
}

#[tokio::test]
async fn a_secret_that_cannot_be_fetched_costs_the_function_nothing_and_is_one_line() {
    let (honeycomb, aws) = (Honeycomb::start().await, Proxy::start(moto::url()).await);
    aws.always(Answer::json(400, &json!({ "__type": "ParameterNotFound" })));
    let builder = sandbox(&honeycomb, "/not/there").env("AWS_ENDPOINT_URL_SSM", &aws.url());
    let sandbox = builder.start().await;

    for _ in 0..3 {
        let reply = sandbox.invoke(event("home-activities")).await;
        assert_eq!(reply.status, 200);
        sandbox.ended(&reply.request_id).await;
    }
    sandbox.shutdown().await;

    let log = sandbox.extension_log_lines();
    let told = log.iter().filter(|line| line.contains("does not exist")).count();
    assert_eq!(told, 1, "{log:#?}");
    assert!(!aws.requests().is_empty());
    assert_eq!(honeycomb.requests().len(), 0);
}
