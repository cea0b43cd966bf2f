//! The attributes that all spans and log records of a function have in common.

use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::{Resource, resource::TelemetryResourceDetector};

use sha2::{Digest, Sha256};

use crate::config::Config;

/// The attributes of all spans of this process.
pub(in crate::telemetry) fn resource(config: &Config) -> Resource {
    let text = |key, value: &Option<String>| Some(KeyValue::new(key, value.clone()?));
    let list = |key, value: &Option<String>| {
        let values = vec![StringValue::from(value.clone()?)];
        Some(KeyValue::new(key, Value::Array(Array::String(values))))
    };
    let known = [
        text("faas.name", &config.function_name),
        text("faas.version", &config.function_version),
        text("faas.instance", &config.log_stream),
        config
            .log_stream
            .as_deref()
            .map(|name| KeyValue::new("service.instance.id", instance(name))),
        text("cloud.region", &config.region),
        list("aws.log.group.names", &config.log_group),
        list("aws.log.stream.names", &config.log_stream),
        config.memory_bytes.map(|bytes| KeyValue::new("faas.max_memory", bytes)),
    ];
    let named =
        config.resource_attributes.iter().map(|(key, v)| KeyValue::new(key.clone(), v.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.version", config.revision.clone()),
            KeyValue::new("telemetry.distro.name", "cruddur-telemetry"),
            KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("cloud.provider", "aws"),
            KeyValue::new("cloud.platform", "aws_lambda"),
        ])
        .with_attributes(known.into_iter().flatten())
        .with_attributes(named)
        .with_attribute(KeyValue::new("service.name", config.service_name.clone()))
        .build()
}

/// The id of the sandbox with this log stream. The extension derives the same one for its spans.
fn instance(log_stream: &str) -> String {
    let digest = Sha256::digest(log_stream);
    let bytes = std::array::from_fn(|byte| digest[byte]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
