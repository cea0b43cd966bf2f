use super::*;
use crate::client::secret::SecretSource;
use crate::exporter::cloudwatch_logs::config::CloudWatchLogsConfig;
use crate::exporter::console::config::ConsoleConfig;
use crate::exporter::xray::config::XrayConfig;
use crate::processor::failures::item::ItemLevel;
use crate::processor::failures::settings::ClientAddress;
use http::HeaderValue;

mod revision;
mod sampling;
mod xray;

fn read(vars: &[(&str, &str)]) -> (Config, Vec<ConfigError>) {
    Config::from_vars(|name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

fn given(honeycomb: &HoneycombConfig) -> &HeaderValue {
    let Some(SecretSource::Inline(key)) = &honeycomb.key else { panic!("{honeycomb:?}") };
    key
}

#[test]
fn an_empty_environment_gives_a_console_and_no_errors() {
    let (config, errors) = read(&[]);

    assert_eq!(errors, []);
    assert!(
        config.exporters.get::<ConsoleConfig>().is_some()
            && config.exporters.get::<HoneycombConfig>().is_none()
            && config.lambda_api.is_none()
    );
    assert_eq!(config.otlp_listen.to_string(), "127.0.0.1:4318");
    assert_eq!(config.otlp_grpc_listen.unwrap().to_string(), "127.0.0.1:4317");
    assert_eq!(config.max_hold, Duration::from_secs(1));
}

#[test]
fn grpc_is_off_if_its_address_is_off_or_empty() {
    for value in ["off", "", " "] {
        let (config, errors) = read(&[("CRUDDUR_OTLP_GRPC_LISTEN", value)]);

        assert_eq!((config.otlp_grpc_listen, errors), (None, vec![]), "{value:?}");
    }
}

#[test]
fn on_lambda_a_key_is_all_that_honeycomb_needs() {
    let (config, errors) =
        read(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("HONEYCOMB_API_KEY", "k ")]);

    assert_eq!(errors, []);
    let honeycomb = config.exporters.get::<HoneycombConfig>().unwrap();
    assert_eq!(given(honeycomb), "k");
    assert_eq!(honeycomb.endpoint, "https://api.honeycomb.io");
    assert!(config.exporters.get::<ConsoleConfig>().is_none());
}

#[test]
fn the_key_may_come_as_an_otlp_header() {
    let (config, _) = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b, X-Honeycomb-Team=k")]);

    assert_eq!(given(config.exporters.get::<HoneycombConfig>().unwrap()), "k");
}

#[test]
fn an_emulators_address_is_no_lambda() {
    let (config, _) = read(&[("AWS_LAMBDA_RUNTIME_API", "http://[::]:9000/.rt")]);

    assert_eq!(config.lambda_api, None);
}

#[test]
fn the_list_of_exporters_names_exactly_those_that_run() {
    let (config, _) = read(&[("CRUDDUR_EXPORTERS", "console"), ("HONEYCOMB_API_KEY", "k")]);

    assert!(
        config.exporters.get::<ConsoleConfig>().is_some()
            && config.exporters.get::<HoneycombConfig>().is_none()
    );
}

#[test]
fn a_wrong_value_is_named_and_the_default_holds() {
    for (variable, value) in [
        ("CRUDDUR_OTLP_LISTEN", "4318"),
        ("CRUDDUR_OTLP_GRPC_LISTEN", "on"),
        ("CRUDDUR_OTLP_HEADERS", "no list"),
        ("CRUDDUR_FLUSH", "sometimes"),
        ("CRUDDUR_MAX_HOLD_MS", "1s"),
        ("CRUDDUR_HOLD_SHARE", "0"),
        ("CRUDDUR_BUFFER_BYTES", "-1"),
        ("CRUDDUR_LOG", "loud"),
        ("CRUDDUR_EXPORTERS", "console,datadog"),
        ("CRUDDUR_EXPORTERS", "honeycomb"),
        ("CRUDDUR_EXPORTERS", "cloudwatch"),
        ("CRUDDUR_LOG_GROUP", "a group"),
        ("CRUDDUR_LOG_GROUP", "aws/mine"),
        ("CRUDDUR_EXPORTERS", "rollbar"),
        ("ROLLBAR_ACCESS_TOKEN", "a\u{1}b"),
        ("ROLLBAR_ACCESS_TOKEN_SECRET", "arn:aws:s3:::bucket"),
    ] {
        let (config, errors) = read(&[(variable, value)]);

        assert_eq!(errors.len(), 1, "{variable}={value}");
        assert!(errors[0].to_string().starts_with(variable), "{}", errors[0]);
        let ports = (config.otlp_listen.port(), config.otlp_grpc_listen.map(|it| it.port()));
        assert_eq!(ports, (4318, Some(4317)));
    }
}

#[test]
fn rollbar_needs_a_token_and_no_more_and_says_what_it_cannot_read() {
    let token = ("ROLLBAR_ACCESS_TOKEN", "t");
    let (config, errors) = read(&[token]);
    let rollbar = config.exporters.get::<RollbarConfig>().unwrap();
    assert_eq!(errors, []);
    assert_eq!(rollbar.endpoint, "https://api.rollbar.com/api/1/item/");
    assert_eq!(
        (rollbar.items.environment.as_str(), rollbar.items.min_level),
        ("production", ItemLevel::Error)
    );
    assert_eq!(rollbar.items.client_address, ClientAddress::Whole);

    for (variable, value, is_off) in [
        ("ROLLBAR_ENDPOINT", "api.rollbar.com", true),
        ("ROLLBAR_ENDPOINT", "ftp://api.rollbar.com/", true),
        ("ROLLBAR_LEVEL", "loud", false),
        ("ROLLBAR_CAPTURE_IP", "maybe", false),
        ("CRUDDUR_TRACE_URL", "https://example.com/", false),
    ] {
        let (config, errors) = read(&[token, (variable, value)]);
        assert_eq!(config.exporters.get::<RollbarConfig>().is_none(), is_off, "{variable}={value}");
        assert_eq!(errors.len(), 1, "{variable}={value}");
        assert!(errors[0].to_string().starts_with(variable), "{}", errors[0]);
    }
    let (config, _) = read(&[token, ("ROLLBAR_CAPTURE_IP", "anonymise")]);
    assert_eq!(
        config.exporters.get::<RollbarConfig>().unwrap().items.client_address,
        ClientAddress::Anonymized
    );
    let (config, _) = read(&[token, ("CRUDDUR_EXPORTERS", "console")]);
    assert!(config.exporters.get::<RollbarConfig>().is_none());
}

#[test]
fn a_log_group_in_a_region_is_all_that_cloudwatch_needs() {
    let group = ("CRUDDUR_LOG_GROUP", "cruddur");
    let (config, errors) = read(&[group, ("AWS_REGION", "us-east-1")]);
    assert_eq!(errors, []);
    let cloudwatch = config.exporters.get::<CloudWatchLogsConfig>().unwrap();
    assert_eq!((cloudwatch.group.as_str(), cloudwatch.retention_days), ("cruddur", 30));

    let (config, errors) = read(&[group]);
    assert!(config.exporters.get::<CloudWatchLogsConfig>().is_none());
    assert!(errors[0].to_string().starts_with("AWS_REGION"), "{errors:?}");

    let two_days = ("CRUDDUR_LOG_RETENTION_DAYS", "2");
    let (config, errors) = read(&[group, ("AWS_REGION", "us-east-1"), two_days]);
    assert_eq!(config.exporters.get::<CloudWatchLogsConfig>().unwrap().retention_days, 30);
    assert!(errors[0].to_string().starts_with("CRUDDUR_LOG_RETENTION_DAYS"), "{errors:?}");
}

#[test]
fn a_classic_key_must_have_a_dataset() {
    let classic = ("HONEYCOMB_API_KEY", "0123456789abcdef0123456789abcdef");

    let (config, errors) = read(&[classic, ("HONEYCOMB_DATASET", "d")]);
    assert_eq!(
        (config.exporters.get::<HoneycombConfig>().unwrap().dataset.clone().unwrap(), errors),
        ("d".parse().unwrap(), vec![])
    );

    let (_, errors) = read(&[classic]);
    assert!(errors[0].to_string().starts_with("HONEYCOMB_DATASET"), "{errors:?}");
}

#[test]
fn a_key_that_aws_keeps_is_asked_for_unless_one_is_given() {
    let stored = ("HONEYCOMB_API_KEY_SECRET", "/cruddur/honeycomb");

    let (config, errors) = read(&[stored]);
    let key = config.exporters.get::<HoneycombConfig>().unwrap().key.as_ref().unwrap();
    assert!(matches!(key, SecretSource::Remote(_)) && errors.is_empty(), "{key:?}");

    let (config, _) = read(&[stored, ("HONEYCOMB_API_KEY", "k")]);
    assert_eq!(given(config.exporters.get::<HoneycombConfig>().unwrap()), "k");

    let (config, errors) = read(&[("HONEYCOMB_API_KEY_SECRET", "arn:aws:s3:::bucket")]);
    assert!(config.exporters.get::<HoneycombConfig>().is_none());
    assert!(errors[0].to_string().starts_with("HONEYCOMB_API_KEY_SECRET"), "{errors:?}");
}

#[test]
fn another_backend_needs_only_an_endpoint_and_its_headers() {
    let (config, errors) = read(&[
        ("HONEYCOMB_API_ENDPOINT", "http://otel.example:4318/base/"),
        ("CRUDDUR_OTLP_HEADERS", "authorization=Bearer secret, x-scope = a"),
    ]);

    assert_eq!(errors, []);
    let honeycomb = config.exporters.get::<HoneycombConfig>().unwrap();
    assert_eq!(honeycomb.endpoint, "http://otel.example:4318/base");
    assert_eq!(honeycomb.headers[0].1, "Bearer secret");
    assert!(!format!("{honeycomb:?}").contains("secret"), "{honeycomb:?}");
}

#[test]
fn an_invalid_entry_of_a_header_list_is_skipped_and_reported_and_values_are_decoded() {
    for (list, values, problems) in [
        ("authorization=Basic dTpw,", vec!["Basic dTpw"], 0),
        (" , authorization=Basic%20dTpw== ,,", vec!["Basic dTpw=="], 0),
        ("authorization=Basic dTpw,bad name=1,x-scope=a", vec!["Basic dTpw", "a"], 1),
        ("x-scope=100%,nothing,x-b=%ff,x-c=a%0Ab", vec!["100%"], 3),
        ("nothing", vec![], 1),
    ] {
        let (config, errors) = read(&[("HONEYCOMB_API_KEY", "k"), ("CRUDDUR_OTLP_HEADERS", list)]);

        let honeycomb = config.exporters.get::<HoneycombConfig>().unwrap();
        let found: Vec<_> = honeycomb.headers.iter().map(|(_, value)| value).collect();
        assert_eq!(found, values, "{list}");
        assert_eq!(errors.len(), problems, "{errors:?}");
    }
    let (config, _) = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "no list, x-honeycomb-team=a%2Bb")]);
    assert_eq!(given(config.exporters.get::<HoneycombConfig>().unwrap()), "a+b");
}

#[test]
fn a_wrong_endpoint_or_key_is_named_without_showing_the_key() {
    let (config, errors) =
        read(&[("HONEYCOMB_API_KEY", "k"), ("HONEYCOMB_API_ENDPOINT", "ftp://x")]);
    assert!(config.exporters.get::<HoneycombConfig>().is_none(), "not another destination instead");
    assert_eq!(errors.len(), 1);

    let (config, errors) = read(&[("HONEYCOMB_API_KEY", "sec\nret")]);
    assert!(config.exporters.get::<HoneycombConfig>().is_none());
    assert!(!errors[0].to_string().contains("sec"), "{}", errors[0]);
}

#[test]
fn an_endpoint_that_would_show_or_lose_a_part_of_itself_is_refused() {
    let honeycomb = [("HONEYCOMB_API_KEY", "k"), ("ROLLBAR_ACCESS_TOKEN", "t")];
    for (variable, value, problem) in [
        ("HONEYCOMB_API_ENDPOINT", "https://me:hidden@example.com", "has a user in it"),
        ("HONEYCOMB_API_ENDPOINT", "https://example.com/?key=hidden", "ends with a query"),
        ("ROLLBAR_ENDPOINT", "https://me:hidden@example.com/item/", "has a user in it"),
    ] {
        let (_, errors) = read(&[&honeycomb[..], &[(variable, value)]].concat());

        let [error] = &errors[..] else { panic!("not one: {errors:?}") };
        assert!(error.reason().contains(problem), "{error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
    let query = ("ROLLBAR_ENDPOINT", "https://example.com/item/?token=hidden");
    let (config, errors) = read(&[&honeycomb[..], &[query]].concat());
    assert_eq!(
        (config.exporters.get::<RollbarConfig>().map(|it| it.endpoint.as_str()), errors),
        (Some(query.1), vec![])
    );
    for (variable, value) in variables::all().flat_map(|variable| {
        [
            (variable, "https://me.example/?token=hidden"),
            (variable, "https://me:hidden@example.com/a"),
            (variable, "me:hidden@example.com"),
        ]
    }) {
        let shown = variable.shown(Some(value));
        let may_hold_a_secret = ["KEY", "TOKEN", "HEADERS", "ENDPOINT", "URL"];
        let has_secret = may_hold_a_secret.iter().any(|part| variable.name.contains(part));
        let is_name_of_a_secret = variable.name.ends_with("_SECRET");
        assert!(!has_secret || is_name_of_a_secret || !shown.contains("hidden"), "{shown}");
    }
}

#[test]
fn a_value_with_a_comma_is_not_shown_as_the_name_of_a_header() {
    let headers = ("CRUDDUR_OTLP_HEADERS", "authorization=Bearer a,hid/den==");

    let (_, errors) = read(&[headers]);

    assert_eq!(errors.len(), 1);
    assert!(!errors[0].to_string().contains("hid"), "{}", errors[0]);
}

#[test]
fn every_default_is_valid_and_an_unusable_value_is_never_shown() {
    let on = [
        ("CRUDDUR_EXPORTERS", "honeycomb,xray,cloudwatch,rollbar,console"),
        ("HONEYCOMB_API_KEY", "k"),
        ("ROLLBAR_ACCESS_TOKEN", "t"),
        ("CRUDDUR_LOG_GROUP", "group"),
        ("AWS_REGION", "us-east-1"),
    ];
    let (config, errors) = read(&on);
    assert_eq!(errors, []);
    assert_eq!(config.exporters(None).len(), 5);

    for variable in variables::all().filter(|it| !it.default.is_empty()) {
        let (_, errors) = read(&[&[(variable.name, variable.default)], &on[..]].concat());
        assert_eq!(errors, [], "{} is as if unset", variable.name);
    }
    // A value that is not UTF-8 is decoded lossily.
    for value in ["", " ", "\u{fffd}hidden\u{1}", "https://me:hidden@example.com/?a=hidden"] {
        for variable in variables::all().filter(|it| it.name != "CRUDDUR_EXPORTERS") {
            let (config, errors) = read(&[&[(variable.name, value)], &on[..]].concat());
            for shown in errors.iter().map(ToString::to_string) {
                assert!(!shown.contains("hidden"), "{shown}");
            }
            drop(config.exporters(None));
        }
    }
}

#[test]
fn a_board_needs_a_key_and_an_endpoint_whoever_else_is_sent_to() {
    let key = ("HONEYCOMB_CONFIGURATION_KEY", "c");
    let (config, errors) = read(&[key]);
    assert!(
        config.management.is_some()
            && config.exporters.get::<HoneycombConfig>().is_none()
            && errors.is_empty()
    );

    let (config, errors) = read(&[key, ("HONEYCOMB_API_ENDPOINT", "ui.honeycomb.io")]);
    assert!(config.management.is_none());
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].variable(), "HONEYCOMB_API_ENDPOINT");

    let (config, _) = read(&[("HONEYCOMB_API_KEY", "k"), ("CRUDDUR_EXPORTERS", "console")]);
    assert!(config.management.is_some() && config.exporters.get::<HoneycombConfig>().is_none());
}

#[cfg(feature = "page")] // without it a variable fewer is read
#[test]
fn the_document_lists_every_variable() {
    let cell = |text: &str| match text {
        "" => "–".to_owned(),
        text => format!("`{text}`"),
    };
    let row = |it: &crate::settings::Variable| {
        format!("| `{}` | {} | {} |\n", it.name, it.meaning.replace('|', "\\|"), cell(it.default))
    };
    let table: String = variables::all().map(row).collect();
    let table = format!("| variable | meaning | default |\n|---|---|---|\n{table}");

    let document = include_str!("../../README.md");

    assert!(document.contains(&table), "extension/README.md must hold this table:\n{table}");
}

#[test]
fn metrics_are_detailed_unless_totals_are_asked_for() {
    let metrics = |vars: &[(&str, &str)]| {
        let (config, errors) = read(vars);
        let MetricScope { namespace, is_detailed } = config.metrics;
        (namespace, is_detailed, errors.len())
    };
    let (level, namespace) = ("CRUDDUR_METRICS", "CRUDDUR_METRICS_NAMESPACE");

    assert_eq!(metrics(&[]), ("Cruddur".to_owned(), true, 0));
    let stack = [(level, "totals"), (namespace, "Cruddur/a-stack")];
    assert_eq!(metrics(&stack), ("Cruddur/a-stack".to_owned(), false, 0));
    let wrong = [(level, "few"), (namespace, "AWS/Lambda")];
    assert_eq!(metrics(&wrong), ("Cruddur".to_owned(), true, 2));
}

#[test]
fn what_describes_the_function_is_known_or_given() {
    let function = ("AWS_LAMBDA_FUNCTION_NAME", "home");
    let given = ("OTEL_RESOURCE_ATTRIBUTES", "app.name=cru%20ddur, service.name=s,faas.name=f,");
    let resource = |vars: &[(&str, &str)], key: &str| {
        let (config, errors) = read(vars);
        assert_eq!(errors, []);
        config.resource.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    };

    assert_eq!(resource(&[function], "service.name").unwrap(), "home");
    assert_eq!(resource(&[], "service.name").unwrap(), "unknown_service");
    assert_eq!(resource(&[function, given], "service.name").unwrap(), "s");
    assert_eq!(resource(&[function, given], "app.name").unwrap(), "cru ddur");
    assert_eq!(resource(&[function, given], "faas.name").unwrap(), "f");
    for own in [("OTEL_SERVICE_NAME", "o"), ("HONEYCOMB_SERVICE_NAME", "o")] {
        assert_eq!(resource(&[function, given, own], "service.name").unwrap(), "o");
        assert_eq!(read(&[function, given, own]).0.service_name, "o");
    }
    let (config, errors) = read(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,c")]);
    assert_eq!(errors[0].variable(), "OTEL_RESOURCE_ATTRIBUTES");
    assert!(config.resource.iter().all(|(key, _)| key != "a"));
}
