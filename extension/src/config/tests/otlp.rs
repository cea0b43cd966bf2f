use super::read;
use crate::exporter::honeycomb::config::HoneycombConfig;
use crate::exporter::otlp::compression::OtlpCompression;
use crate::exporter::otlp::config::OtlpConfig;

const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const OWN: &str = "CRUDDUR_OTLP_ENDPOINT";
const TEAM: &str = "x-honeycomb-team=k";

/// The URLs of the backend, and the errors.
fn urls(vars: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let (config, errors) = read(vars);
    let otlp = config.exporters.get::<OtlpConfig>();
    let urls = otlp.iter().flat_map(|otlp| &otlp.targets).map(|it| it.url.to_string());
    (urls.collect(), errors.iter().map(ToString::to_string).collect())
}

#[test]
fn a_base_endpoint_gets_the_paths_and_an_endpoint_of_a_signal_is_taken_as_it_is() {
    let all = ["traces", "logs", "metrics"].map(|it| format!("http://otel.example/base/v1/{it}"));
    for variable in [BASE, OWN] {
        let (found, errors) = urls(&[(variable, "http://otel.example/base/")]);
        assert_eq!((found, errors), (all.to_vec(), vec![]), "{variable}");
    }

    let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs.example/in?key=1");
    let (found, errors) = urls(&[logs]);
    assert_eq!((found, errors), (vec![logs.1.to_owned()], vec![]));

    let (found, _) = urls(&[logs, (BASE, "http://otel.example/base")]);
    assert_eq!(found, [all[0].as_str(), logs.1, all[2].as_str()]);
}

#[test]
fn the_extensions_own_address_names_no_backend_and_no_error() {
    for own in [
        "http://127.0.0.1:4318",
        "http://localhost:4318/",
        "http://[::1]:4317",
        "localhost:4317",
        "http://sandbox.localdomain:4318",
    ] {
        for more in [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("HONEYCOMB_API_KEY", "k")] {
            assert_eq!(urls(&[(BASE, own), more]), (vec![], vec![]), "{own}");
        }
    }
    let listen = ("CRUDDUR_OTLP_LISTEN", "10.0.0.1:5000");
    assert_eq!(urls(&[listen, (BASE, "http://10.0.0.1:5000")]), (vec![], vec![]));
    assert_eq!(urls(&[(BASE, "http://127.0.0.1:4319")]).0.len(), 3, "another program's port");

    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces");
    let (found, errors) = urls(&[traces, (BASE, "http://otel.example")]);
    assert_eq!((found.len(), errors), (2, vec![]), "logs and metrics");
}

#[test]
fn an_endpoint_that_cannot_be_used_is_one_line_with_its_variable() {
    let own = "http://127.0.0.1:4318";
    let other = (BASE, "http://other.example");
    for (vars, variable) in [
        (vec![(BASE, "ftp://otel.example")], BASE),
        (vec![(BASE, "http://me:hidden@otel.example")], BASE),
        (vec![(BASE, "http://otel.example/?key=hidden")], BASE),
        (vec![(OWN, "otel.example")], OWN),
        (vec![(OWN, own)], OWN),
        (vec![(OWN, "http://otel.example"), other], OWN),
        (vec![other, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "OTEL_EXPORTER_OTLP_PROTOCOL"),
        (
            vec![other, ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json")],
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        ),
        (vec![("CRUDDUR_EXPORTERS", "otlp"), (BASE, own)], "CRUDDUR_EXPORTERS"),
    ] {
        let (found, errors) = urls(&vars);

        let [error] = &errors[..] else { panic!("not one line for {vars:?}: {errors:?}") };
        assert!(error.starts_with(&format!("{variable} ")) && !error.contains("hidden"), "{error}");
        assert_eq!(found, [""; 0], "{vars:?}");
    }
    let function = (BASE, own);
    let (found, errors) = urls(&[(OWN, "http://otel.example"), function]);
    assert_eq!((found.len(), errors), (3, vec![]), "the usual endpoint of a function's SDK");
}

#[test]
fn headers_and_compression_of_a_signal_replace_the_general_ones_and_values_are_hidden() {
    let (config, errors) = read(&[
        (BASE, "http://otel.example"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20hidden,x-a=1"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-b=2"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
    ]);

    assert_eq!(errors, []);
    let otlp = config.exporters.get::<OtlpConfig>().unwrap();
    let values = otlp
        .targets
        .iter()
        .map(|it| it.headers.iter().map(|(_, value)| value.to_str().unwrap()).collect::<Vec<_>>());
    let general = vec!["Basic hidden", "1"];
    assert_eq!(values.collect::<Vec<_>>(), [general.clone(), vec!["2"], general]);
    let compressions: Vec<_> = otlp.targets.iter().map(|it| it.compression.unwrap()).collect();
    use OtlpCompression::{Gzip, None};
    assert_eq!(compressions, [Gzip, Gzip, None]);
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn headers_that_aws_keeps_are_for_the_own_endpoint_and_a_broken_reference_switches_it_off() {
    let secret = |value| ("CRUDDUR_OTLP_HEADERS_SECRET", value);
    let endpoint = (OWN, "http://otel.example");
    let (config, errors) = read(&[endpoint, secret("/cruddur/otlp")]);
    assert_eq!(errors, []);
    assert!(config.exporters.get::<OtlpConfig>().unwrap().secret.is_some());

    let (found, errors) = urls(&[endpoint, secret("arn:aws:s3:::bucket")]);
    assert_eq!((found.len(), errors.len()), (0, 1), "{errors:?}");
    assert!(errors[0].starts_with("CRUDDUR_OTLP_HEADERS_SECRET"), "{errors:?}");
}

#[test]
fn honeycomb_by_two_ways_is_one_line_and_another_environment_is_a_second_backend() {
    let endpoint = (BASE, "https://api.honeycomb.io");
    let header = ("OTEL_EXPORTER_OTLP_HEADERS", TEAM);
    let key = |key| ("HONEYCOMB_API_KEY", key);

    let (found, errors) = urls(&[endpoint, header, key("k")]);
    assert_eq!((found.len(), errors.len()), (0, 1), "{errors:?}");
    assert!(errors[0].starts_with(BASE), "{errors:?}");
    let stored = ("HONEYCOMB_API_KEY_SECRET", "/cruddur/honeycomb");
    assert_eq!(urls(&[endpoint, header, stored]).1.len(), 1);

    let (found, errors) = urls(&[endpoint, header, key("of another environment")]);
    assert_eq!((found.len(), errors), (3, vec![]));

    let (config, errors) = read(&[endpoint, header]);
    assert_eq!(errors, [], "the key of Honeycomb's exporter");
    assert!(config.exporters.get::<HoneycombConfig>().is_some());
    assert!(config.exporters.get::<OtlpConfig>().is_none());
}

#[test]
fn headers_go_to_the_backend_that_they_are_for_alone() {
    let honeycomb = |vars: &[(&str, &str)]| {
        let (config, errors) = read(vars);
        assert_eq!(errors, []);
        let honeycomb = config.exporters.get::<HoneycombConfig>();
        honeycomb.map(|honeycomb| honeycomb.headers.len())
    };
    let headers = ("CRUDDUR_OTLP_HEADERS", "authorization=x");
    let key = ("HONEYCOMB_API_KEY", "k");

    assert_eq!(honeycomb(&[key, headers]), Some(1));
    assert_eq!(honeycomb(&[key, headers, (OWN, "http://otel.example")]), Some(0));
    let elsewhere = [(BASE, "http://otel.example"), ("OTEL_EXPORTER_OTLP_HEADERS", TEAM)];
    assert_eq!(honeycomb(&elsewhere), None, "a key for another host than Honeycomb's");
}
