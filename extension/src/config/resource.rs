//! The resource of the spans that the extension makes about the function.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::settings::{Reader, Variable, parse_revision};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        "OTEL_SERVICE_NAME",
        "",
        "service.name of platform spans and of payloads without one; unset: the next two, or the function's name",
    ),
    Variable::new("HONEYCOMB_SERVICE_NAME", "", "the same"),
    Variable::new(
        "OTEL_RESOURCE_ATTRIBUTES",
        "",
        "attributes of the resource of platform spans, key=value,…; values percent-encoded",
    ),
    Variable::new(
        "CRUDDUR_REVISION",
        "",
        "revision of the code: service.version of platform spans and of payloads without one, Rollbar's code_version",
    ),
    Variable::new("AWS_LAMBDA_FUNCTION_NAME", "", "set by Lambda"),
    Variable::new("AWS_LAMBDA_FUNCTION_VERSION", "", "set by Lambda"),
    Variable::new("AWS_REGION", "", "set by Lambda"),
    Variable::new("AWS_DEFAULT_REGION", "", "the region if AWS_REGION is unset"),
];

/// The service's name and all attributes of the resource.
type Described = (String, Vec<(String, String)>);

/// As the functions' own SDK does it: `OTEL_RESOURCE_ATTRIBUTES` overrides detected attributes, and a
/// variable for the service's name overrides both.
pub(super) fn read(reader: &mut Reader<'_>) -> Described {
    let given = reader.parsed("OTEL_RESOURCE_ATTRIBUTES", parse_attributes).unwrap_or_default();
    let named = given.iter().find(|(key, _)| key == "service.name");
    let service_name = reader
        .get("OTEL_SERVICE_NAME")
        .or_else(|| reader.get("HONEYCOMB_SERVICE_NAME"))
        .or_else(|| named.map(|(_, name)| name.clone()))
        .or_else(|| reader.get("AWS_LAMBDA_FUNCTION_NAME"))
        .unwrap_or_else(|| "unknown_service".to_owned());
    let known = [
        ("telemetry.distro.name", Some(env!("CARGO_PKG_NAME").to_owned())),
        ("telemetry.distro.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("cloud.provider", Some("aws".to_owned())),
        ("cloud.platform", Some("aws_lambda".to_owned())),
        ("cloud.region", reader.get("AWS_REGION")),
        ("service.version", reader.parsed("CRUDDUR_REVISION", parse_revision)),
        ("faas.name", reader.get("AWS_LAMBDA_FUNCTION_NAME")),
        ("faas.version", reader.get("AWS_LAMBDA_FUNCTION_VERSION")),
    ];
    let known = known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let mut resource: BTreeMap<_, _> = known.chain(given).collect();
    resource.insert("service.name".to_owned(), service_name.clone());
    (service_name, resource.into_iter().collect())
}

/// By <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>:
/// one invalid pair discards the whole list.
fn parse_attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().map(String::from).ok();
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((decoded(key).filter(|key| !key.is_empty())?, decoded(value)?))
    });
    let pairs: Option<_> = pairs.collect();
    pairs.ok_or_else(|| "is ignored: no list of key=value".into())
}
