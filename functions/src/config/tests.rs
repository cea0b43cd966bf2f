use tracing::Level;

use super::*;

fn config(vars: &[(&str, &str)]) -> Config {
    Config::from_vars(|name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn without_variables_everything_has_its_default() {
    let config = config(&[]);

    assert_eq!(config.service_name, "unknown_service");
    assert_eq!(config.traces_url, "http://127.0.0.1:4318/v1/traces");
    assert!(config.log_filter.would_enable("cruddur::lambda", &Level::INFO));
    assert!(!config.log_filter.would_enable("hyper", &Level::INFO));
    assert!(config.warnings.is_empty());
}

#[test]
fn the_service_is_called_like_the_function_unless_it_is_named() {
    let lambda = ("AWS_LAMBDA_FUNCTION_NAME", "home-activities");

    assert_eq!(config(&[lambda]).service_name, "home-activities");
    for name in ["OTEL_SERVICE_NAME", "HONEYCOMB_SERVICE_NAME"] {
        assert_eq!(config(&[lambda, (name, "backend")]).service_name, "backend");
    }
    assert_eq!(config(&[lambda, ("OTEL_SERVICE_NAME", "")]).service_name, "home-activities");
}

#[test]
fn resource_attributes_are_decoded_and_may_name_the_service() {
    let text = "service.name=backend, deployment.environment.name=a%2Cb,empty=,";
    let named = config(&[("OTEL_RESOURCE_ATTRIBUTES", text)]);
    let both = [("OTEL_RESOURCE_ATTRIBUTES", text), ("OTEL_SERVICE_NAME", "front")];

    assert_eq!(named.service_name, "backend");
    assert_eq!(config(&both).service_name, "front");
    let pairs = named.resource_attributes.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let expected =
        [("service.name", "backend"), ("deployment.environment.name", "a,b"), ("empty", "")];
    assert_eq!(pairs.collect::<Vec<_>>(), expected);
    for wrong in ["a", "=a", "a=b,c", "a=%ff"] {
        let config = config(&[("OTEL_RESOURCE_ATTRIBUTES", wrong)]);
        assert_eq!((config.resource_attributes.len(), config.warnings.len()), (0, 1), "{wrong}");
    }
}

#[test]
fn a_sampler_is_one_of_the_specifications_or_one_warning_and_the_default() {
    for (name, ratio, expected, warnings) in [
        ("", "", "ParentBased(AlwaysOn)", 0),
        ("always_on", "", "AlwaysOn", 0),
        ("always_off", "", "AlwaysOff", 0),
        ("traceidratio", "0.25", "TraceIdRatioBased(0.25)", 0),
        ("traceidratio", "", "TraceIdRatioBased(1.0)", 0),
        ("parentbased_always_off", "", "ParentBased(AlwaysOff)", 0),
        ("parentbased_traceidratio", "0", "ParentBased(TraceIdRatioBased(0.0))", 0),
        ("traceidratio", "2", "TraceIdRatioBased(1.0)", 1),
        ("traceidratio", "NaN", "TraceIdRatioBased(1.0)", 1),
        ("xray", "", "ParentBased(AlwaysOn)", 1),
    ] {
        let vars = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", ratio)];

        let config = config(&vars);

        assert_eq!(format!("{:?}", config.sampler), expected, "{name} {ratio}");
        assert_eq!(config.warnings.len(), warnings, "{name} {ratio}");
    }
}

#[test]
fn spans_go_to_loopback_addresses_only() {
    for own in ["http://localhost:9", "http://127.0.0.2:9/", "http://[::1]:9"] {
        let config = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", own)]);
        let expected = format!("{}/v1/traces", own.trim_end_matches('/'));
        assert_eq!((config.traces_url.to_string(), config.warnings.len()), (expected, 0));
    }
    for foreign in [
        "https://api.honeycomb.io",
        "http://10.0.0.1:4318",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "https://127.0.0.1:4318",
        "127.0.0.1:4318",
        "not a url",
    ] {
        let config = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", foreign)]);
        assert_eq!(config.traces_url, "http://127.0.0.1:4318/v1/traces", "{foreign}");
        assert_eq!(config.warnings.len(), 1, "{foreign}");
    }
}

#[test]
fn lines_are_sent_where_nobody_else_hands_them_over_or_somebody_asks_for_it() {
    let emulator = ("AWS_LAMBDA_RUNTIME_API", "http://127.0.0.1:9000/.rt/home-activities");
    let lambda = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
    let (otlp, none) = (("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_LOGS_EXPORTER", "none"));
    let disabled = ("OTEL_SDK_DISABLED", "true");
    for (vars, sent) in [
        (&[emulator][..], true),
        (&[emulator, none], false),
        (&[emulator, disabled], false),
        (&[lambda], false),
        (&[lambda, otlp], true),
        (&[lambda, otlp, disabled], false),
    ] {
        let config = config(vars);
        let expected = sent.then(|| "http://127.0.0.1:4318/v1/logs".parse().unwrap());
        assert_eq!((config.logs_url, config.warnings.len()), (expected, 0), "{vars:?}");
    }
    let wrong = config(&[lambda, ("OTEL_LOGS_EXPORTER", "syslog")]);
    assert_eq!((wrong.logs_url, wrong.warnings.len()), (None, 1));
}

#[test]
fn lambdas_level_goes_before_rusts_and_both_spare_us_the_libraries_chatter() {
    let config = config(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("RUST_LOG", "error")]);

    assert!(config.log_filter.would_enable("cruddur::store", &Level::DEBUG));
    assert!(config.log_filter.would_enable("hyper", &Level::WARN));
    assert!(!config.log_filter.would_enable("hyper", &Level::INFO));
}

#[test]
fn directives_may_ask_for_a_library() {
    let config = config(&[("RUST_LOG", "warn,hyper=debug")]);

    assert!(config.log_filter.would_enable("hyper", &Level::DEBUG));
    assert!(!config.log_filter.would_enable("cruddur", &Level::INFO));
}

#[cfg(feature = "local")]
#[test]
fn a_local_identity_takes_an_emulator() {
    let emulator = ("AWS_LAMBDA_RUNTIME_API", "http://127.0.0.1:9000/.rt/home-activities");

    let local = config(&[emulator]).local.unwrap();
    assert_eq!(local.handle.as_str(), "andrewbrown");
    assert_eq!(local.page_origin, "http://localhost:3000");

    let named = [emulator, ("CRUDDUR_LOCAL_HANDLE", "Worf"), ("FRONTEND_URL", "http://a:1/")];
    let local = config(&named).local.unwrap();
    assert_eq!((local.handle.as_str(), local.page_origin.as_str()), ("worf", "http://a:1"));

    for lambda in ["127.0.0.1:9001", "http://127.0.0.1:9001", "169.254.100.1:9001/"] {
        let vars = [("AWS_LAMBDA_RUNTIME_API", lambda), ("CRUDDUR_LOCAL_HANDLE", "worf")];
        assert_eq!(config(&vars).local, None, "{lambda}");
    }
    assert_eq!(config(&[("CRUDDUR_LOCAL_HANDLE", "worf")]).local, None);
}

#[test]
fn deployed_there_is_no_page_unless_it_is_named() {
    assert!(config(&[]).page_origins.is_empty());
    let named = config(&[("FRONTEND_URL", "https://cruddur.example.com/, http://localhost:3000")]);
    assert_eq!(named.page_origins, ["https://cruddur.example.com", "http://localhost:3000"]);
}

#[cfg(feature = "local")]
#[test]
fn a_local_handle_that_is_none_is_one_warning_and_nobody() {
    let emulator = ("AWS_LAMBDA_RUNTIME_API", "http://127.0.0.1:9000/.rt");

    let config = config(&[emulator, ("CRUDDUR_LOCAL_HANDLE", "50%")]);

    assert_eq!((config.local, config.warnings.len()), (None, 1));
}

#[test]
fn a_wrong_level_is_one_warning_and_the_default() {
    for wrong in [("AWS_LAMBDA_LOG_LEVEL", "LOUD"), ("RUST_LOG", "loud"), ("RUST_LOG", "a=b")] {
        let config = config(&[wrong]);

        assert!(config.log_filter.would_enable("cruddur", &Level::INFO), "{wrong:?}");
        assert_eq!(config.warnings.len(), 1, "{wrong:?}");
    }
}

#[test]
fn a_write_quota_is_two_numbers_or_off() {
    for (text, expected, warnings) in [
        ("60,600", (Some(60), Some(600)), 0),
        (" 60 , 0", (Some(60), None), 0),
        ("0", (None, None), 0),
        ("", (None, None), 0),
        ("60", (None, None), 1),
        ("60,600,1", (None, None), 1),
        ("-1,5", (None, None), 1),
        ("many", (None, None), 1),
    ] {
        let config =
            Config::from_vars(|name| (name == "CRUDDUR_WRITE_QUOTA").then(|| text.to_owned()));

        assert_eq!((config.text_quota, config.other_quota), expected, "{text:?}");
        assert_eq!(config.warnings.len(), warnings, "{text:?}");
    }
}
