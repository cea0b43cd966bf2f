//! One line for each request: who asked for what, and what became of it.

use std::time::Instant;

use http::StatusCode;
use tracing::{error, info, warn};

use crate::{
    domain::UserKey,
    http::{ApiError, Request, Response, Route, cut},
};

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
            client_address: request.client_address().map(|address| cut(address).to_owned()),
            method: cut(request.method().as_str()).to_owned(),
            scheme: request.scheme(),
            path: match request.query_excerpt() {
                query if query.is_empty() => request.path_excerpt().to_owned(),
                query => format!("{}?{query}", request.path_excerpt()),
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
        // The text names the path alone: the query is in the field.
        let named = path.and_then(|path| path.split('?').next()).unwrap_or("-");
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
                    named,
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
