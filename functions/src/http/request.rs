//! What comes in.

use std::{collections::HashMap, fmt, marker::PhantomData};

use http::{Method, header::HOST};
use lambda_http::{
    RequestExt, aws_lambda_events::apigw::ApiGatewayV2httpRequestContext, request::RequestContext,
};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    ApiError,
    event::Event,
    excerpts::{cut, masked_query},
};
use crate::panics;

/// What a function answers.
///
/// Lambda gives a function no route (the emulator always says `$default`), so it is said here, and
/// it names the spans.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The methods, in upper case.
    pub methods: &'static [&'static str],
    /// The path as in the template, with variables in braces.
    pub path: &'static str,
    /// Whether its traces may be kept. Traces of a health check are recorded and never kept.
    pub is_sampled: bool,
}

impl Route {
    /// A route whose traces may be kept.
    pub const fn new(methods: &'static [&'static str], path: &'static str) -> Self {
        Self { methods, path, is_sampled: true }
    }

    /// The same route; its traces are never kept.
    pub const fn unsampled(self) -> Self {
        Self { is_sampled: false, ..self }
    }

    /// Fails for a method that is not the route's.
    pub fn check(&self, request: &Request) -> Result<(), ApiError> {
        match self.methods.contains(&request.method().as_str()) {
            true => Ok(()),
            false => Err(ApiError::MethodNotAllowed {
                method: request.method().to_string(),
                allowed: self.methods,
            }),
        }
    }
}

/// An HTTP request, read from an event of payload format 2.0.
#[derive(Debug)]
pub struct Request(lambda_http::Request);

impl Request {
    /// Reads the event's JSON.
    ///
    /// The library panics on some events, such as one with a blank in its query. The event is at
    /// fault, so the error is [`ApiError::MalformedEvent`], as for any other bad event.
    pub fn from_event(json: &str) -> Result<Self, ApiError> {
        let malformed = |error: serde_json::Error| {
            // serde's message is left out because it can quote the event.
            let (category, column) = (error.classify(), error.column());
            ApiError::MalformedEvent(format!("{category:?} error in column {column}"))
        };
        let Object(mut event) =
            serde_json::from_str::<Object<Event<'_>>>(json).map_err(malformed)?;
        event.clean();
        let host = event.take_host();
        let json = serde_json::to_string(&event).map_err(malformed)?;
        match panics::catch(|| lambda_http::request::from_str(&json)) {
            Ok(Ok(mut request)) => {
                request.headers_mut().extend(host.map(|host| (HOST, host)));
                Ok(Self(request))
            }
            Ok(Err(error)) => Err(malformed(error)),
            Err(panic) => Err(ApiError::MalformedEvent(panic.message)),
        }
    }

    /// The method, of any name.
    pub fn method(&self) -> &Method {
        self.0.method()
    }

    /// The path as the client sent it, possibly decoded by the gateway.
    pub fn path(&self) -> &str {
        self.0.raw_http_path()
    }

    /// `https` where the gateway's header names it; `http` under an emulator, which sends no such
    /// header. In a list of several proxies the first entry is the client's.
    pub fn scheme(&self) -> &'static str {
        let list = self.header("x-forwarded-proto").unwrap_or_default();
        let first = list.split(',').next().unwrap_or_default().trim();
        if first.eq_ignore_ascii_case("https") { "https" } else { "http" }
    }

    /// What follows the `?` of the address, as the client sent it; empty if there is nothing.
    pub fn query(&self) -> &str {
        self.0.uri().query().unwrap_or_default()
    }

    /// The path for log lines and spans: at most 1,024 bytes.
    pub fn path_excerpt(&self) -> &str {
        cut(self.path())
    }

    /// The query for log lines and spans: at most 1,024 bytes, and without values that users type.
    pub fn query_excerpt(&self) -> String {
        masked_query(self.query())
    }

    /// The client's IP address, from the gateway.
    pub fn client_address(&self) -> Option<&str> {
        self.gateway()?.http.source_ip.as_deref()
    }

    /// The protocol that the client spoke, such as `HTTP/1.1`.
    pub fn protocol(&self) -> Option<&str> {
        self.gateway()?.http.protocol.as_deref()
    }

    /// The value of a header, if it is there and is text. The name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// Whether there is such a header, text or not.
    pub fn has_header(&self, name: &str) -> bool {
        self.0.headers().contains_key(name)
    }

    /// A variable of the route's path, decoded; empty if it is missing.
    ///
    /// The gateway decodes it, an emulator may not. Decoding it twice is harmless, because no
    /// handle or id holds a `%`.
    pub fn path_parameter(&self, name: &str) -> String {
        let raw = self.0.path_parameters_ref().and_then(|map| map.first(name)).unwrap_or_default();
        let decoded = percent_decode_str(raw).decode_utf8();
        decoded.map_or_else(|_| raw.to_owned(), |text| text.into_owned())
    }

    /// A parameter of the query, decoded; the first one of that name.
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        self.0.query_string_parameters_ref()?.first(name)
    }

    /// The claims that the gateway's authorizer read from a valid token. A client cannot forge
    /// them.
    pub fn claims(&self) -> Option<&HashMap<String, String>> {
        Some(&self.gateway()?.authorizer.as_ref()?.jwt.as_ref()?.claims)
    }

    fn gateway(&self) -> Option<&ApiGatewayV2httpRequestContext> {
        match self.0.request_context_ref()? {
            RequestContext::ApiGatewayV2(context) => Some(context),
            _ => None,
        }
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        self.0.body()
    }

    /// The body as it came; fails if it is longer than `max_bytes`.
    pub fn body_up_to(&self, max_bytes: usize) -> Result<&[u8], ApiError> {
        let bytes = self.body().len();
        match bytes > max_bytes {
            true => Err(ApiError::BodyTooLarge { bytes, max_bytes }),
            false => Ok(self.body()),
        }
    }

    /// The body's type in lower case, without parameters; empty if it is not said.
    pub fn media_type(&self) -> String {
        let content_type = self.header("content-type").unwrap_or_default();
        content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body as JSON; unknown fields are ignored.
    ///
    /// Fails if it is of another type, longer than `max_bytes`, no JSON, or JSON of another form.
    pub fn json<T: DeserializeOwned>(&self, max_bytes: usize) -> Result<T, ApiError> {
        let media_type = self.media_type();
        if media_type != "application/json" {
            return Err(ApiError::UnsupportedMediaType(media_type));
        }
        let object = serde_json::from_slice::<Object<T>>(self.body_up_to(max_bytes)?);
        object.map(|Object(value)| value).map_err(ApiError::MalformedJson)
    }
}

/// A value that was written as an object. By itself serde reads a struct from an array as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::HOME_EVENT as HOME;

    #[test]
    fn the_sample_event_becomes_a_request() {
        let request = Request::from_event(HOME).unwrap();

        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.path(), "/api/activities/home");
        assert_eq!(request.scheme(), "https");
        assert!(request.header("X-Amzn-Trace-Id").unwrap().starts_with("Root=1-"));
    }

    #[test]
    fn an_event_that_is_no_request_is_an_error_even_where_the_library_panics() {
        let odd_query = HOME.replace("\"rawQueryString\": \"", "\"rawQueryString\": \"a b");
        assert_ne!(odd_query, HOME);
        for event in ["{}", "[]", "null", "\"GET /\"", odd_query.as_str()] {
            let error = Request::from_event(event).unwrap_err();

            assert_eq!(error.status_and_code().1, "malformed_event", "{event}");
        }
    }

    fn with(change: impl FnOnce(&mut serde_json::Value)) -> Request {
        let mut event = serde_json::from_str(HOME).unwrap();
        change(&mut event);
        Request::from_event(&event.to_string()).unwrap()
    }

    #[test]
    fn odd_headers_refuse_nothing_and_the_others_stay() {
        for (name, value) in [
            ("x-forwarded-proto", json!("https,http")),
            ("x-forwarded-proto", json!("gopher")),
            ("x-forwarded-proto", json!("://")),
            ("x-forwarded-proto", json!(["https", "http"])),
            ("host", json!("ab:cd:")),
            ("host", json!("999.999.999.999:99999")),
            ("host", json!("xn--\u{e4}, b")),
            ("host", json!("")),
            ("Host", json!("[::1]:9000")),
            ("x-odd", json!(null)),
            ("x-odd", json!(7)),
            ("x-odd", json!({"a": []})),
            ("x-odd", json!("line\nbreak")),
            ("x odd\u{e4}", json!("value")),
            ("", json!("value")),
        ] {
            let request = with(|event| {
                let _ = event["headers"].as_object_mut().unwrap().remove("host");
                event["headers"][name] = value.clone();
            });

            assert_eq!(request.path(), "/api/activities/home", "{name}: {value}");
            assert!(request.has_header("traceparent") || request.has_header("x-amzn-trace-id"));
        }
        for (list, scheme) in [
            ("https,http", "https"),
            ("HTTPS", "https"),
            ("http, https", "http"),
            ("gopher", "http"),
            ("", "http"),
        ] {
            let request = with(|event| event["headers"]["x-forwarded-proto"] = list.into());
            assert_eq!(request.scheme(), scheme, "{list}");
        }
        assert_eq!(
            with(|event| event["headers"]["host"] = "a_b:x".into()).header("host"),
            Some("a_b:x")
        );
    }

    #[test]
    fn parts_of_an_event_that_are_not_read_refuse_nothing() {
        for (part, value) in [
            ("cookies", json!([1, null])),
            ("stageVariables", json!({"a": 1})),
            ("httpMethod", json!(7)),
            ("pathParameters", json!({"a": 1})),
            ("pathParameters", json!([])),
            ("queryStringParameters", json!({"a": null})),
            ("headers", json!(null)),
            ("isBase64Encoded", json!(false)),
        ] {
            with(|event| event[part] = value);
        }
        for (part, value) in [
            ("authentication", json!("x")),
            ("domainName", json!("a:b:c")),
            ("timeEpoch", json!("never")),
            ("accountId", json!(123456789012_u64)),
            ("authorizer", json!(null)),
            ("authorizer", json!({"lambda": 1, "iam": 2})),
        ] {
            let request = with(|event| event["requestContext"][part] = value);
            assert!(request.claims().is_none());
        }
    }

    #[test]
    fn claims_that_are_not_texts_are_ignored() {
        let claims = json!({"sub": "user-1", "nonce": null, "exp": 1, "email_verified": true,
                            "cognito:groups": ["a"], "address": {"country": "x"}});
        let jwt = json!({"jwt": {"claims": claims, "scopes": {"odd": 1}}});

        let request = with(|event| event["requestContext"]["authorizer"] = jwt);

        let claims = request.claims().unwrap();
        assert_eq!((claims.len(), claims["sub"].as_str()), (1, "user-1"));
        for claims in [json!(null), json!([]), json!("x")] {
            let jwt = json!({"jwt": {"claims": claims}});
            let request = with(|event| event["requestContext"]["authorizer"] = jwt);
            assert!(request.claims().unwrap().is_empty());
        }
    }

    #[test]
    fn a_method_of_another_route_is_refused_with_the_ones_there_are() {
        let route = Route::new(&["PUT", "DELETE"], "/x");

        let error = route.check(&Request::from_event(HOME).unwrap()).unwrap_err();

        let reply = serde_json::to_value(error.reply()).unwrap();
        assert_eq!(reply["statusCode"], 405);
        assert_eq!(reply["body"], "[\"method_not_allowed\"]");
        assert_eq!(reply["headers"]["allow"], "PUT, DELETE");
    }

    #[test]
    fn a_body_is_an_object_and_not_an_array_of_its_values() {
        #[derive(Debug, Deserialize)]
        struct Body {
            message: String,
        }
        let read = |json| serde_json::from_str::<Object<Body>>(json).map(|Object(body)| body);

        assert_eq!(read(r#"{"message":"m"}"#).unwrap().message, "m");
        assert!(read(r#"["m"]"#).unwrap_err().to_string().contains("expected an object"));
        assert!(read(r#"{"message":"m","message":"n"}"#).is_err());
    }
}
