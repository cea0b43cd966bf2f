//! The HTTP client of the exporters and commands: TLS roots are built in, a proxy and further roots are
//! those of [`network`](crate::client::network), replies are read up to a limit.

use std::{
    error::Error,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use forward_proxy::Way;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use webpki_roots::TLS_SERVER_ROOTS;

use crate::client::connector::TcpConnector;
use crate::client::freeze::timeout_awake;
use crate::client::network::settings;
use crate::client::trust::add_certificates;
use crate::delivery::error::ExportError;

pub const USER_AGENT: &str = concat!("cruddur-telemetry/", env!("CARGO_PKG_VERSION"));

/// Characters of an error reply that are logged: enough for a message, too few to flood the log.
const MAX_MESSAGE_CHARS: usize = 200;

/// A client with its connection pool. All clients share one TLS configuration, whose sessions shorten later
/// handshakes. Creating the first reads the TLS roots, so it is not done in init.
#[derive(Clone, Debug)]
pub struct HttpClient(Client<HttpsConnector<TcpConnector>, Full<Bytes>>);

#[derive(Clone, Debug)]
pub struct HttpReply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Empty if an error's body broke off or exceeded the limit.
    pub body: Bytes,
}

/// The connector of all clients, and why `https` destinations get nothing.
struct SharedConnector {
    connector: HttpsConnector<TcpConnector>,
    /// The file of further roots cannot be used.
    tls_problem: Option<String>,
}

fn shared() -> &'static SharedConnector {
    static SHARED: OnceLock<SharedConnector> = OnceLock::new();
    SHARED.get_or_init(|| {
        let mut roots = RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() };
        let added =
            settings().ca_bundle.as_ref().map(|bundle| add_certificates(&mut roots, bundle));
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(TcpConnector::new());
        SharedConnector { connector, tls_problem: added.and_then(Result::err) }
    })
}

impl Default for HttpClient {
    fn default() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(shared().connector.clone());
        Self(client)
    }
}

impl HttpClient {
    /// Sends a request and reads the reply up to `max_reply_bytes`, whatever its status. Both take at
    /// most `within`.
    ///
    /// A success is an error if its body is incomplete, too long or a web page: the body may hold refusals.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
        max_reply_bytes: usize,
    ) -> Result<HttpReply, ExportError> {
        check_settings(request.uri())?;
        let exchange = async {
            let reply = self.0.request(request).await.map_err(unreachable)?;
            let (head, body) = reply.into_parts();
            // The body is read to its end, so that the connection can be used again.
            let body = Limited::new(body, max_reply_bytes).collect().await;
            let is_success = head.status.is_success();
            let body = match body {
                Err(_) if !is_success => Bytes::new(),
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() && is_html(&head.headers) => {
                    return Err(web_page());
                }
                Err(error) if error.is::<LengthLimitError>() => {
                    return Err(ExportError::ReplyTooLong(max_reply_bytes));
                }
                Err(error) => return Err(ExportError::BrokenReply(error.to_string())),
            };
            // Emulators of AWS send JSON of this type.
            let is_web_page = is_html(&head.headers) && body.trim_ascii_start().starts_with(b"<");
            if is_success && is_web_page {
                return Err(web_page());
            }
            Ok(HttpReply { status: head.status, headers: head.headers, body })
        };
        let reply = timeout_awake(within, exchange).await;
        reply.unwrap_or(Err(ExportError::Timeout(within)))
    }
}

/// Fails if the proxy or the certificates that the destination needs are misconfigured.
fn check_settings(destination: &Uri) -> Result<(), ExportError> {
    if destination.scheme_str() != Some("https") {
        return Ok(());
    }
    if let Some(problem) = &shared().tls_problem {
        return Err(ExportError::Misconfigured(problem.clone()));
    }
    match settings().proxy.as_ref().map(|proxy| proxy.way(destination)) {
        Some(Way::Closed(error)) => Err(ExportError::Misconfigured(error.to_string())),
        _ => Ok(()),
    }
}

fn web_page() -> ExportError {
    ExportError::ForeignReply("it is a web page".to_owned())
}

fn is_html(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    media_type.is_some_and(|it| it.to_ascii_lowercase().starts_with(b"text/html"))
}

/// The pause that the header `Retry-After` asks for.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    pause(headers.get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

/// Reads a `Retry-After` value: seconds or a date. `None` for a past date.
pub fn pause(value: &str, now: SystemTime) -> Option<Duration> {
    let seconds = value.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(value).ok()?.duration_since(now).ok())
}

/// The URL without its query, which may hold a secret.
pub fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(shown, _)| shown)
}

/// The reply as text for a log line: short and without control characters.
pub fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|char| !char.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

fn unreachable(error: hyper_util::client::legacy::Error) -> ExportError {
    ExportError::Unreachable(chain(&error))
}

/// The error with its sources: the outermost error alone rarely names the cause.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_names_seconds_or_a_date_and_what_else_it_says_is_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000); // 08:00:00
        for (value, seconds) in [
            ("30", Some(30)),
            (" 5 ", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Fri, 15 Jan 2027 08:00:30 GMT", Some(30)),
            ("Friday, 15-Jan-27 08:00:30 GMT", Some(30)),
            ("Fri Jan 15 08:00:30 2027", Some(30)),
            ("Fri, 15 Jan 2027 07:59:00 GMT", None), // its clock, or ours, is wrong
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(251_602_300_799)),
        ] {
            let value_of =
                HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(value))]);

            assert_eq!(retry_after(&value_of, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
