//! The attributes of a durable execution, which is several invocations. Its events name it.
//! <https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html>

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::http::cut;

/// The fields of a durable invocation's event that are read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DurableEvent<'a> {
    #[serde(borrow)]
    durable_execution_arn: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    initial_execution_state: Option<ExecutionState<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecutionState<'a> {
    #[serde(borrow, default)]
    operations: Vec<&'a RawValue>,
}

/// Adds the attributes to the server span if the event names an execution.
pub(super) fn describe(span: &Span, event: &str) {
    // Events of the gateway are not parsed a second time.
    if !event.contains("\"DurableExecutionArn\"") {
        return;
    }
    let Ok(event) = serde_json::from_str::<DurableEvent<'_>>(event) else { return };
    let Some((name, id)) = name_and_id(&event.durable_execution_arn) else { return };
    span.set_attribute("aws.durable.execution_name", cut(name).to_owned());
    span.set_attribute("aws.durable.execution_id", cut(id).to_owned());
    if let Some(state) = event.initial_execution_state {
        // The first invocation knows the execution itself alone.
        span.set_attribute("aws.durable.first_invocation", state.operations.len() <= 1);
    }
}

/// Of `arn:…:function:NAME:VERSION/durable-execution/NAME/ID`.
fn name_and_id(arn: &str) -> Option<(&str, &str)> {
    let (_, rest) = arn.strip_prefix("arn:")?.split_once("/durable-execution/")?;
    rest.split_once('/').filter(|(name, id)| !name.is_empty() && !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_id_are_the_last_parts_of_the_arn() {
        let function = "arn:aws:lambda:ca-central-1:123456789012:function:f:7";
        for (rest, expected) in [
            ("/durable-execution/order-1/id-2", Some(("order-1", "id-2"))),
            ("/durable-execution//id-2", None),
            ("/durable-execution/order-1", None),
            ("/durable-execution/order-1/", None),
            ("", None),
        ] {
            assert_eq!(name_and_id(&format!("{function}{rest}")), expected, "{rest}");
        }
        assert_eq!(name_and_id("/durable-execution/a/b"), None);
    }
}
