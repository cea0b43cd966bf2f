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
    /// Whether its replies are the same for every caller, so that caches may keep them.
    pub is_public: bool,
    /// How many requests of the store its first round has, so that as many connections are made
    /// during init. 0 for functions that use no store.
    pub store_connections: u8,
}

impl Route {
    /// A route whose traces may be kept.
    pub const fn new(methods: &'static [&'static str], path: &'static str) -> Self {
        Self { methods, path, is_sampled: true, is_public: false, store_connections: 1 }
    }

    /// A route that is read. It answers `HEAD` as well.
    pub const fn get(path: &'static str) -> Self {
        Self::new(&["GET", "HEAD"], path)
    }

    /// The same route; its replies do not depend on the caller.
    pub const fn public(self) -> Self {
        Self { is_public: true, ..self }
    }

    /// The same route; it begins with so many requests of the store at once.
    pub const fn store_connections(self, store_connections: u8) -> Self {
        Self { store_connections, ..self }
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
    /// Reads the event's JSON; values that no function reads are left out, see `Event::clean`.
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
mod tests;
