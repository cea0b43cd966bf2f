use super::*;

fn parse(text: &str) -> Result<RemoteSecret, String> {
    RemoteSecret::parse(text, Some("eu-west-1".into()), |_| None)
}

#[test]
fn the_kinds_of_references_are_told_apart() {
    let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:honeycomb-a1B2c3";
    let parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/cruddur/honeycomb";
    for (text, service, id, field, region) in [
        (secret.to_owned(), SecretService::SecretsManager, secret, None, "us-east-1"),
        (format!("{secret}:key"), SecretService::SecretsManager, secret, Some("key"), "us-east-1"),
        (
            format!("{secret}:key::"),
            SecretService::SecretsManager,
            secret,
            Some("key"),
            "us-east-1",
        ),
        (format!("{secret}:::"), SecretService::SecretsManager, secret, None, "us-east-1"),
        (parameter.to_owned(), SecretService::ParameterStore, parameter, None, "us-east-1"),
        ("/a/b".to_owned(), SecretService::ParameterStore, "/a/b", None, "eu-west-1"),
    ] {
        let stored = parse(&text).unwrap();

        assert_eq!((stored.service, stored.id.as_str()), (service, id), "{text}");
        assert_eq!((stored.field.as_deref(), stored.region.as_deref()), (field, Some(region)));
    }
    assert!(parse("arn:aws:s3:::bucket").is_err());
}

#[test]
fn what_leads_to_another_key_than_was_meant_is_refused() {
    let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a";
    for (text, problem) in [
        (format!("{secret}:key:AWSPREVIOUS"), "asks for a version"),
        (format!("{secret}:key::0f1e"), "asks for a version"),
        ("arn:aws:secretsmanager::123456789012:secret:a".to_owned(), "without a region"),
        ("arn:aws:ssm::123456789012:parameter/a".to_owned(), "without a region"),
    ] {
        let error = parse(&text).unwrap_err();

        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn a_key_in_the_place_of_its_place_is_refused_and_not_shown() {
    let letters = "0123456789abcdef".repeat(4);
    for key in [
        format!("hcaik_{}", &letters[..58]),
        format!("hcbic_{}", &letters[..58]),
        letters[..32].to_owned(),
        letters[..32].to_ascii_uppercase(),
        letters.clone(),
    ] {
        let error = parse(&key).unwrap_err();

        assert!(error.contains("seems to be a key") && !error.contains(&key[..8]), "{error}");
    }
    for name in ["hcaik", "deadbeef", "/cruddur/honeycomb", "honeycomb-key"] {
        assert!(parse(name).is_ok(), "{name}");
    }
}

#[test]
fn what_is_no_key_is_named_and_never_shown() {
    let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a";
    for (field, answer, problem) in [
        ("", json!({ "SecretString": "" }), "is empty"),
        ("", json!({ "SecretString": " \n" }), "is empty"),
        ("", json!({ "SecretString": "hidden\nvalue" }), "holds a character"),
        ("", json!({ "SecretBinary": "aGlkZGVu" }), "is binary"),
        ("", json!({ "SecretString": r#"{"key":"hidden"}"# }), "name the field"),
        ("", json!({ "SecretString": r#" ["hidden"]"# }), "name the field"),
        (":key", json!({ "SecretString": "hidden" }), "is not JSON"),
        (":key", json!({ "SecretString": "12" }), "is not JSON"),
        (":key", json!({ "SecretString": r#"{"other":"hidden"}"# }), "has no field \"key\""),
        (":key", json!({ "SecretString": r#"{"key":{"hidden":1}}"# }), "has no text"),
    ] {
        let error = parse(&format!("{secret}{field}")).unwrap().key_in(&answer).unwrap_err();

        assert!(error.contains(problem) && !error.contains("hidden"), "{error}");
    }
}

#[test]
fn a_line_end_behind_a_key_is_no_part_of_it_and_its_debug_output_hides_it() {
    let stored = parse("arn:aws:secretsmanager:us-east-1:123456789012:secret:a:key").unwrap();

    let key = stored.key_in(&json!({ "SecretString": "{\"key\":\"abc\\n\"}" })).unwrap();

    assert_eq!(key, "abc");
    assert!(!format!("{key:?}").contains("abc"));
}
