//! Every variable that the extension reads, and its effect in the current configuration.

use crate::client::http::without_query;
use crate::client::secret::SecretSource;
use crate::config::Config;
use crate::exporter::cloudwatch_logs::config::CloudWatchLogsConfig;
use crate::exporter::honeycomb::config::TEAM;
use crate::flush::policy::FlushMode;

#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    /// The variable's present effect, set or not. Never shows a key.
    pub now: fn(&Config) -> String,
}

/// In the order in which `doctor` prints them. The variables of the AWS SDK's endpoints and credentials
/// are not listed.
pub const VARIABLES: &[Variable] = &[
    Variable { name: "CRUDDUR_EXPORTERS", now: exporters },
    Variable { name: "HONEYCOMB_API_KEY", now: |config| key(config, "given") },
    Variable { name: "HONEYCOMB_API_KEY_SECRET", now: |config| key(config, "stored") },
    Variable { name: "OTEL_EXPORTER_OTLP_HEADERS", now: |_| format!("only {} is read", TEAM) },
    Variable { name: "HONEYCOMB_API_ENDPOINT", now: endpoint },
    Variable { name: "HONEYCOMB_DATASET", now: dataset },
    Variable { name: "CRUDDUR_OTLP_HEADERS", now: headers },
    Variable { name: "HONEYCOMB_CONFIGURATION_KEY", now: |_| "only for the command board".into() },
    Variable { name: "CRUDDUR_XRAY_UNDECIDED", now: undecided },
    Variable {
        name: "CRUDDUR_XRAY_ANNOTATIONS",
        now: |config| xray(config, |xray| format!("X-Ray indexes {}", xray.annotations)),
    },
    Variable { name: "AWS_XRAY_DAEMON_ADDRESS", now: daemon },
    Variable { name: "OTEL_SERVICE_NAME", now: service },
    Variable { name: "HONEYCOMB_SERVICE_NAME", now: service },
    Variable {
        name: "OTEL_RESOURCE_ATTRIBUTES",
        now: |_| "added to the resource of the platform's spans".into(),
    },
    Variable {
        name: "CRUDDUR_OTLP_LISTEN",
        now: |config| format!("OTLP is received at http://{}", config.otlp_listen),
    },
    Variable { name: "CRUDDUR_FLUSH", now: flush },
    Variable {
        name: "CRUDDUR_MAX_HOLD_MS",
        now: |config| format!("a flush holds an invocation for at most {:?}", config.max_hold),
    },
    Variable {
        name: "CRUDDUR_BUFFER_BYTES",
        now: |config| format!("at most {} in memory", size(config.buffer_bytes as u64)),
    },
    Variable {
        name: "CRUDDUR_SPOOL_DIR",
        now: |config| format!("undelivered batches are in {}", config.spool_directory.display()),
    },
    Variable {
        name: "CRUDDUR_SPOOL_BYTES",
        now: |config| match config.spool_bytes {
            0 => "nothing is kept on disk".into(),
            bytes => format!("at most {} on disk", size(bytes)),
        },
    },
    Variable { name: "CRUDDUR_LOG_GROUP", now: |config| cloudwatch(config, |it| it.group.clone()) },
    Variable {
        name: "CRUDDUR_LOG_RETENTION_DAYS",
        now: |config| cloudwatch(config, |it| format!("{} days in a new group", it.retention_days)),
    },
    Variable { name: "ROLLBAR_ACCESS_TOKEN", now: |config| token(config, "given") },
    Variable { name: "ROLLBAR_ACCESS_TOKEN_SECRET", now: |config| token(config, "stored") },
    Variable {
        name: "ROLLBAR_ENVIRONMENT",
        now: |config| {
            rollbar(config, |it| format!("items have the environment {}", it.items.environment))
        },
    },
    Variable {
        name: "ROLLBAR_ENDPOINT",
        now: |config| rollbar(config, |it| without_query(&it.endpoint).to_owned()),
    },
    Variable {
        name: "ROLLBAR_LEVEL",
        now: |config| {
            rollbar(config, |it| {
                format!("failures of level {} and above", it.items.min_level.name())
            })
        },
    },
    Variable {
        name: "ROLLBAR_CAPTURE_IP",
        now: |config| {
            rollbar(config, |it| {
                format!("the client's address is sent {}", it.items.client_address)
            })
        },
    },
    Variable {
        name: "CRUDDUR_TRACE_URL",
        now: |config| {
            rollbar(config, |it| match &it.items.trace_url {
                Some(url) => format!("items link to {url}"),
                None => "items have trace ids without a link".into(),
            })
        },
    },
    Variable { name: "CRUDDUR_SCRUB", now: |_| "further names whose values are masked".into() },
    Variable {
        name: "CRUDDUR_LOG",
        now: |config| format!("log level {}", config.log_level.to_string().to_lowercase()),
    },
    Variable { name: "AWS_LAMBDA_RUNTIME_API", now: lambda },
    Variable { name: "AWS_LAMBDA_FUNCTION_NAME", now: |config| config.function_name.clone() },
    Variable { name: "AWS_LAMBDA_FUNCTION_VERSION", now: |config| of(config, "faas.version") },
    Variable { name: "AWS_REGION", now: |config| of(config, "cloud.region") },
];

fn cloudwatch(config: &Config, now: fn(&CloudWatchLogsConfig) -> String) -> String {
    config.exporters.cloudwatch_logs.as_ref().map_or_else(|| "cloudwatch is off".into(), now)
}

fn exporters(config: &Config) -> String {
    let exporters = config.exporters(None);
    let names: Vec<_> = exporters.iter().map(|exporter| exporter.spec().name).collect();
    match names.is_empty() {
        true => "telemetry goes nowhere".into(),
        false => format!("telemetry goes to {}", names.join(" and ")),
    }
}

fn xray(
    config: &Config,
    now: impl Fn(&crate::exporter::xray::config::XrayConfig) -> String,
) -> String {
    config.exporters.xray.as_ref().map_or_else(|| "nothing goes to X-Ray".into(), now)
}

fn undecided(config: &Config) -> String {
    xray(config, |xray| match xray.undecided {
        0.0 => "X-Ray gets the invocations that Lambda samples".into(),
        rate => format!("X-Ray also gets {rate} of the undecided invocations"),
    })
}

fn daemon(config: &Config) -> String {
    xray(config, |xray| match &xray.daemon {
        Some(address) => format!("segments go to the daemon at {address}"),
        None => "segments go to X-Ray's API".into(),
    })
}

fn key(config: &Config, place: &str) -> String {
    let key = config.exporters.honeycomb.as_ref().and_then(|honeycomb| honeycomb.key.as_ref());
    match (key, place) {
        (Some(SecretSource::Inline(_)), "given") => {
            "Honeycomb gets a key from this variable".into()
        }
        (Some(SecretSource::Remote(stored)), "stored") => format!("the key is {stored}"),
        (Some(_), _) => "not needed".into(),
        (None, _) => "no key".into(),
    }
}

fn token(config: &Config, place: &str) -> String {
    let token = config.exporters.rollbar.as_ref().map(|rollbar| &rollbar.token);
    match (token, place) {
        (Some(SecretSource::Inline(_)), "given") => {
            "Rollbar gets a token from this variable".into()
        }
        (Some(SecretSource::Remote(stored)), "stored") => format!("the token is {stored}"),
        (Some(_), _) => "not needed".into(),
        (None, _) => "no token".into(),
    }
}

fn rollbar(
    config: &Config,
    now: impl Fn(&crate::exporter::rollbar::config::RollbarConfig) -> String,
) -> String {
    config.exporters.rollbar.as_ref().map_or_else(|| "nothing is sent to Rollbar".into(), now)
}

fn endpoint(config: &Config) -> String {
    let endpoint = config.exporters.honeycomb.as_ref().map(|honeycomb| honeycomb.endpoint.clone());
    endpoint.unwrap_or_else(|| "nothing is sent there".into())
}

fn dataset(config: &Config) -> String {
    let dataset =
        config.exporters.honeycomb.as_ref().and_then(|honeycomb| honeycomb.dataset.as_ref());
    match dataset {
        Some(_) => "the dataset of a classic key; ignored with others".into(),
        None => "the dataset is the service's name".into(),
    }
}

fn headers(config: &Config) -> String {
    let headers = config.exporters.honeycomb.iter().flat_map(|honeycomb| &honeycomb.headers);
    let names: Vec<_> = headers.map(|(name, _)| name.as_str()).collect();
    match names.is_empty() {
        true => "no further headers".into(),
        false => format!("each request has {}", names.join(", ")),
    }
}

fn service(config: &Config) -> String {
    format!("payloads without a service.name get {}", config.service_name)
}

fn flush(config: &Config) -> String {
    match config.flush {
        FlushMode::End => "sent at the end of each invocation, before the next".into(),
        FlushMode::Periodic(period) => format!("sent in the background, every {period:?} at most"),
        FlushMode::Adaptive => "sent before the next invocation, in busy traffic during it".into(),
    }
}

fn lambda(config: &Config) -> String {
    match &config.lambda_api {
        Some(api) => format!("Lambda's APIs are at {api}"),
        None => "no Lambda here".into(),
    }
}

fn of(config: &Config, attribute: &str) -> String {
    let value = config.resource.iter().find(|(key, _)| key == attribute);
    value.map_or_else(|| "not known".into(), |(_, value)| value.clone())
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}
