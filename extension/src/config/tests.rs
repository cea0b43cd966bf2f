use super::*;

fn read(vars: &[(&str, &str)]) -> (Config, Vec<ConfigError>) {
    Config::from_vars(|name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn an_empty_environment_gives_a_console_and_no_errors() {
    let (config, errors) = read(&[]);

    assert_eq!(errors, []);
    assert!(config.console && config.honeycomb.is_none() && config.lambda_api.is_none());
    assert_eq!(config.otlp_listen.to_string(), "127.0.0.1:4318");
    assert_eq!(config.max_hold, Duration::from_secs(1));
}

#[test]
fn on_lambda_a_key_is_all_that_honeycomb_needs() {
    let (config, errors) =
        read(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("HONEYCOMB_API_KEY", "k ")]);

    assert_eq!(errors, []);
    let honeycomb = config.honeycomb.unwrap();
    assert_eq!(honeycomb.headers[0].1, "k");
    assert_eq!(honeycomb.endpoint, "https://api.honeycomb.io");
    assert!(!config.console);
}

#[test]
fn the_key_may_come_as_an_otlp_header() {
    let (config, _) = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b, X-Honeycomb-Team=k")]);

    assert_eq!(config.honeycomb.unwrap().headers[0].1, "k");
}

#[test]
fn an_emulators_address_is_no_lambda() {
    let (config, _) = read(&[("AWS_LAMBDA_RUNTIME_API", "http://[::]:9000/.rt")]);

    assert_eq!(config.lambda_api, None);
}

#[test]
fn the_list_of_exporters_names_exactly_those_that_run() {
    let (config, _) = read(&[("CRUDDUR_EXPORTERS", "console"), ("HONEYCOMB_API_KEY", "k")]);

    assert!(config.console && config.honeycomb.is_none());
}

#[test]
fn a_wrong_value_is_named_and_the_default_holds() {
    for (variable, value) in [
        ("CRUDDUR_OTLP_LISTEN", "4318"),
        ("CRUDDUR_OTLP_HEADERS", "no list"),
        ("CRUDDUR_FLUSH", "sometimes"),
        ("CRUDDUR_MAX_HOLD_MS", "1s"),
        ("CRUDDUR_BUFFER_BYTES", "-1"),
        ("CRUDDUR_LOG", "loud"),
        ("CRUDDUR_EXPORTERS", "console,datadog"),
        ("CRUDDUR_EXPORTERS", "honeycomb"),
    ] {
        let (config, errors) = read(&[(variable, value)]);

        assert_eq!(errors.len(), 1, "{variable}={value}");
        assert!(errors[0].to_string().starts_with(variable), "{}", errors[0]);
        assert_eq!(config.otlp_listen.port(), 4318);
    }
}

#[test]
fn a_dataset_goes_with_classic_keys_and_must() {
    let names = |config: Config| {
        let headers = config.honeycomb.unwrap().headers;
        headers.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    let classic = ("HONEYCOMB_API_KEY", "0123456789abcdef0123456789abcdef");
    let (config, errors) = read(&[classic, ("HONEYCOMB_DATASET", "d")]);
    assert_eq!((names(config), errors), (vec![TEAM.into(), "x-honeycomb-dataset".into()], vec![]));

    let (_, errors) = read(&[classic]);
    assert!(errors[0].to_string().starts_with("HONEYCOMB_DATASET"), "{errors:?}");

    let (config, errors) = read(&[("HONEYCOMB_API_KEY", "hcaik_x"), ("HONEYCOMB_DATASET", "d")]);
    assert_eq!((names(config), errors), (vec![TEAM.to_owned()], vec![]));
}

#[test]
fn another_backend_needs_only_an_endpoint_and_its_headers() {
    let (config, errors) = read(&[
        ("HONEYCOMB_API_ENDPOINT", "http://otel.example:4318/base/"),
        ("CRUDDUR_OTLP_HEADERS", "authorization=Bearer secret, x-scope = a"),
    ]);

    assert_eq!(errors, []);
    let honeycomb = config.honeycomb.unwrap();
    assert_eq!(honeycomb.endpoint, "http://otel.example:4318/base");
    assert_eq!(honeycomb.headers[0].1, "Bearer secret");
    assert!(!format!("{honeycomb:?}").contains("secret"), "{honeycomb:?}");
}

#[test]
fn a_wrong_endpoint_or_key_is_named_without_showing_the_key() {
    let (config, errors) =
        read(&[("HONEYCOMB_API_KEY", "k"), ("HONEYCOMB_API_ENDPOINT", "ftp://x")]);
    assert!(config.honeycomb.is_none(), "not another destination instead");
    assert_eq!(errors.len(), 1);

    let (config, errors) = read(&[("HONEYCOMB_API_KEY", "sec\nret")]);
    assert!(config.honeycomb.is_none());
    assert!(!errors[0].to_string().contains("sec"), "{}", errors[0]);
}
