//! Finds fields of an OTLP/JSON request that the decoder drops without an error.
//!
//! | field | reason of the drop |
//! |---|---|
//! | the data of a metric, the value of a data point or exemplar | one wrong value in it empties the whole `oneof` |
//! | a name in snake_case, such as `string_value` | the decoder knows only lowerCamelCase |
//! | `instrumentationLibrarySpans` and the like | OTLP before 0.16 |

use std::fmt;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Exemplar, Metric, NumberDataPoint, exemplar, metric::Data, number_data_point},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json};

/// The prefix of the fields that `scopeSpans` and the like replaced.
const BEFORE_SCOPES: &str = "instrumentationLibrary";

const DATA: [&str; 5] = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
const NUMBER: [&str; 2] = ["asDouble", "asInt"];

/// Fails if a field has a name that the decoder ignores, although OTLP has or had such a field.
pub(super) fn check_names(json: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<Named>(json).map(|Named| ())
}

/// The first value that emptied a metric, a data point or an exemplar. `None` if none is found.
pub(super) fn emptied(request: &ExportMetricsServiceRequest, json: &[u8]) -> Option<String> {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    if scopes.flat_map(|scope| &scope.metrics).all(is_complete) {
        return None;
    }
    cause(&serde_json::from_slice(json).ok()?, "")
}

fn is_complete(metric: &Metric) -> bool {
    let points = |points: &[NumberDataPoint]| {
        points.iter().all(|point| point.value.is_some() && are_complete(&point.exemplars))
    };
    match &metric.data {
        None => false,
        Some(Data::Gauge(gauge)) => points(&gauge.data_points),
        Some(Data::Sum(sum)) => points(&sum.data_points),
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.iter().all(|point| are_complete(&point.exemplars))
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            histogram.data_points.iter().all(|point| are_complete(&point.exemplars))
        }
        Some(Data::Summary(_)) => true,
    }
}

fn are_complete(exemplars: &[Exemplar]) -> bool {
    exemplars.iter().all(|exemplar| exemplar.value.is_some())
}

/// The innermost `oneof` that cannot be decoded; `field` has the value.
fn cause(value: &Value, field: &str) -> Option<String> {
    let inner = match value {
        Value::Array(values) => return values.iter().find_map(|value| cause(value, field)),
        Value::Object(fields) => fields.iter().find_map(|(field, value)| cause(value, field)),
        _ => return None,
    };
    let error = |name: &str| {
        let given = value.get(name).filter(|given| !given.is_null())?;
        let one = json!({ name: given });
        let error = match field {
            "metrics" => serde_json::from_value::<Data>(one).err(),
            "exemplars" => serde_json::from_value::<exemplar::Value>(one).err(),
            _ => serde_json::from_value::<number_data_point::Value>(one).err(),
        };
        Some(format!("{name}: {}", error?))
    };
    let names: &[&str] = match field {
        "metrics" => &DATA,
        "dataPoints" | "exemplars" => &NUMBER,
        _ => &[],
    };
    let found = inner.or_else(|| names.iter().find_map(|name| error(name)))?;
    match value.get("name").filter(|_| field == "metrics") {
        Some(name) => Some(format!("metric {name}: {found}")),
        None => Some(found),
    }
}

/// Any JSON without a name that [`check_names`] refuses.
struct Named;

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Named {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while let Some(Name) = fields.next_key()? {
            fields.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self, A::Error> {
        while values.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// The name of a field that the decoder may ignore.
struct Name;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a field's name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                if name.starts_with(BEFORE_SCOPES) {
                    let advice = "is of OTLP before 0.16: update the sender";
                    return Err(E::custom(format_args!("the field {name} {advice}")));
                }
                match is_snake_case(name) {
                    true => {
                        let advice = "is not in lowerCamelCase, as OTLP/JSON requires";
                        Err(E::custom(format_args!("the field {name} {advice}")))
                    }
                    false => Ok(Name),
                }
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// All fields of OTLP are lower-case words; other names are unknown and ignored, as OTLP requires.
fn is_snake_case(name: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    name.contains('_') && name.split('_').all(is_word)
}

#[cfg(test)]
mod tests;
