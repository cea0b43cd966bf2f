//! What comes in.

use std::{collections::HashMap, fmt, marker::PhantomData};

use http::Method;
use lambda_http::{
    RequestExt, aws_lambda_events::apigw::ApiGatewayV2httpRequestContext, request::RequestContext,
};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use super::ApiError;
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
    /// Reads the event's JSON. Claims that are not texts are left out: no function reads them, and
    /// the library refuses the whole event for one.
    ///
    /// The library panics on some events, such as one with an invalid host name. The event is at
    /// fault, so the error is [`ApiError::MalformedEvent`], as for any other bad event.
    pub fn from_event(json: &str) -> Result<Self, ApiError> {
        Self::read(json).or_else(|error| match with_text_claims_only(json) {
            Some(cleaned) => Self::read(&cleaned),
            None => Err(error),
        })
    }

    fn read(json: &str) -> Result<Self, ApiError> {
        match panics::catch(|| lambda_http::request::from_str(json)) {
            Ok(Ok(request)) => Ok(Self(request)),
            Ok(Err(error)) => Err(ApiError::MalformedEvent(error.to_string())),
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

    /// `https` behind the gateway, which says so in a header; `http` at an emulator, which does not.
    pub fn scheme(&self) -> &'static str {
        match self.header("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        }
    }

    /// What follows the `?` of the address, as the client sent it; empty if there is nothing.
    pub fn query(&self) -> &str {
        self.0.uri().query().unwrap_or_default()
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

/// The event with the claims that are texts alone; `None` if all are texts.
fn with_text_claims_only(json: &str) -> Option<String> {
    let mut event: Value = serde_json::from_str(json).ok()?;
    let claims = event.pointer_mut("/requestContext/authorizer/jwt/claims")?.as_object_mut()?;
    let before = claims.len();
    claims.retain(|_, claim| claim.is_string());
    (claims.len() < before).then(|| event.to_string())
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
        let odd_host = HOME.replace("\"host\": \"", "\"host\": \"ab:cd:");
        for event in ["{}", "[]", "null", "\"GET /\"", odd_host.as_str()] {
            let error = Request::from_event(event).unwrap_err();

            assert_eq!(error.status_and_code().1, "malformed_event", "{event}");
        }
    }

    #[test]
    fn claims_that_are_not_texts_are_left_out_and_refuse_nothing() {
        let mut event: Value = serde_json::from_str(HOME).unwrap();
        event["requestContext"]["authorizer"] = json!({"jwt": {"scopes": null, "claims": {
            "sub": "user-1", "exp": 1_795_168_800, "rate": 1.5, "email_verified": true,
            "nonce": null, "groups": ["a"], "address": {"country": "CA"}, "username": 7,
        }}});

        let request = Request::from_event(&event.to_string()).unwrap();

        let claims = HashMap::from([("sub".to_owned(), "user-1".to_owned())]);
        assert_eq!(request.claims(), Some(&claims));
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
