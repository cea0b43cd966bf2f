//! One line for each request: who asked for what, and what became of it.

use std::{borrow::Cow, time::Instant};

use http::StatusCode;
use percent_encoding::percent_decode_str;
use tracing::{error, info, warn};

use crate::{
    domain::UserKey,
    http::{ApiError, Request, Response, Route},
};

/// Parameters of the query whose names hold one of these are masked, because they may carry a
/// secret.
const SENSITIVE: [&str; 10] =
    ["auth", "code", "credential", "jwt", "key", "passw", "secret", "session", "sig", "token"];

/// By <https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/>.
const MASK: &str = "REDACTED";

/// The fields of the line that are known before the request is handled.
pub struct AccessLog {
    started: Instant,
    /// The path with its variables: what a metric may be named by.
    route: &'static str,
    asked: Option<Asked>,
    user_id: Option<String>,
}

struct Asked {
    client_address: Option<String>,
    method: String,
    scheme: &'static str,
    path: String,
}

impl AccessLog {
    /// `request` is `None` if the event was none.
    pub fn of(route: &Route, request: Option<&Request>, user: Option<UserKey>) -> Self {
        let asked = request.map(|request| Asked {
            client_address: request.client_address().map(str::to_owned),
            method: request.method().to_string(),
            scheme: request.scheme(),
            path: match masked(request.query()) {
                query if query.is_empty() => request.path().to_owned(),
                query => format!("{}?{query}", request.path()),
            },
        });
        let user_id = user.map(|user| user.to_string());
        Self { started: Instant::now(), route: route.path, asked, user_id }
    }

    /// Writes it, at the level that fits the status. The only place where a failed request is
    /// logged.
    pub fn log(&self, reply: &Response, failure: Option<&ApiError>) {
        let status = reply.status_code();
        let reason = StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
        let reason = reason.unwrap_or_default();
        let duration_ms = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let asked = self.asked.as_ref();
        let client_address = asked.and_then(|asked| asked.client_address.as_deref());
        let method = asked.map(|asked| asked.method.as_str());
        let scheme = asked.map(|asked| asked.scheme);
        let path = asked.map(|asked| asked.path.as_str());
        let (user_id, route) = (self.user_id.as_deref(), self.route);
        let code = failure.map(|error| error.status_and_code().1);
        let error = failure.map(ApiError::chain);
        let store_error_code = failure.and_then(ApiError::store_code);
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    client_address,
                    method,
                    scheme,
                    path,
                    route,
                    status,
                    duration_ms,
                    user_id,
                    code,
                    error,
                    store_error_code,
                    "{} {} {} {} {status} {reason}",
                    client_address.unwrap_or("-"),
                    method.unwrap_or("-"),
                    scheme.unwrap_or("-"),
                    path.unwrap_or("-"),
                )
            };
        }
        match status {
            ..400 => line!(info),
            400..500 => line!(warn),
            500.. => line!(error),
        }
    }
}

/// A query with the values of [`SENSITIVE`] parameters masked; all else as it came.
pub(super) fn masked(query: &str) -> Cow<'_, str> {
    let is_sensitive = |pair: &str| {
        let name = pair.split_once('=').map_or("", |(name, _)| name);
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        SENSITIVE.iter().any(|word| name.contains(word))
    };
    if !query.split('&').any(is_sensitive) {
        return query.into();
    }
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_sensitive(pair) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_may_be_secret_are_masked_and_the_rest_stays_as_it_came() {
        for (query, expected) in [
            ("", ""),
            ("term=a+b%20c&limit=2", "term=a+b%20c&limit=2"),
            ("cursor=eyJ0b2tlbiI6MX0", "cursor=eyJ0b2tlbiI6MX0"),
            ("a=1&access_token=s3cret&b=2", "a=1&access_token=REDACTED&b=2"),
            ("X-Amz-Signature=ab%3D=cd", "X-Amz-Signature=REDACTED"),
            ("%74oken=s3cret", "%74oken=REDACTED"),
            ("PassWord=s3cret&PassWord=other", "PassWord=REDACTED&PassWord=REDACTED"),
            ("token", "token"),
            ("&&=&", "&&=&"),
            ("%ff=%ff", "%ff=%ff"),
        ] {
            assert_eq!(masked(query), expected);
        }
    }
}
