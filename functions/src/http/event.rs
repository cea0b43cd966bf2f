//! The parts of an event that this API reads. The library refuses or panics on odd values in any
//! other part, so only valid parts are handed to it.

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

/// An event of payload format 2.0. Unknown fields are dropped.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    version: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    route_key: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    raw_path: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    raw_query_string: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<&'a RawValue>,
    #[serde(default)]
    headers: Value,
    #[serde(default)]
    path_parameters: Value,
    #[serde(default)]
    query_string_parameters: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    request_context: Value,
}

impl Event<'_> {
    /// Drops headers, claims and other values that are invalid, or that nothing here reads.
    pub(super) fn clean(&mut self) {
        object(&mut self.headers).retain(|name, value| {
            // A key that cannot be read must not count as none: the write would be done twice.
            if name.eq_ignore_ascii_case("idempotency-key") && !is_header(name, value) {
                *value = Value::String(String::new());
            }
            is_header(name, value)
        });
        object(&mut self.path_parameters).retain(|_, value| value.is_string());
        object(&mut self.query_string_parameters).retain(|_, value| value.is_string());
        if let Value::Object(context) = &mut self.request_context {
            clean_context(context);
        }
    }

    /// Takes out the `host` header. The library builds a URL from it and panics on an odd one.
    pub(super) fn take_host(&mut self) -> Option<HeaderValue> {
        let headers = object(&mut self.headers);
        let name = headers.keys().find(|name| name.eq_ignore_ascii_case("host"))?.clone();
        HeaderValue::from_str(headers.remove(&name)?.as_str()?).ok()
    }
}

/// The value's fields; a value of another type becomes an object without fields.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("the value is an object by now"),
    }
}

fn is_header(name: &str, value: &Value) -> bool {
    let is_value = |text: &str| HeaderValue::from_str(text).is_ok();
    name.parse::<HeaderName>().is_ok() && value.as_str().is_some_and(is_value)
}

fn clean_context(context: &mut Map<String, Value>) {
    context.retain(|name, value| match name.as_str() {
        "http" | "authorizer" => true,
        "stage" | "requestId" | "routeKey" => value.is_string(),
        _ => false,
    });
    if let Some(Value::Object(http)) = context.get_mut("http") {
        http.retain(|_, value| value.is_string());
    }
    let jwt = context.remove("authorizer").and_then(|mut authorizer| {
        let claims = authorizer.get_mut("jwt")?.as_object_mut()?.remove("claims");
        Some(claims.unwrap_or_default())
    });
    if let Some(mut claims) = jwt {
        object(&mut claims).retain(|_, value| value.is_string());
        context.insert("authorizer".to_owned(), serde_json::json!({"jwt": {"claims": claims}}));
    }
}
