//! A small HTTP client for tests and for the sandbox's own deliveries: one connection a request.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What the server answered.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// Status line.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl HttpReply {
    /// The body as JSON; `null` if it is something else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends one request to an `http://host:port/path` address and reads the whole answer.
///
/// An error when nobody listens or the connection ends early. Waits as long as the server does.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<HttpReply> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let authority = uri.authority().ok_or_else(|| io::Error::other("an address without host"))?;
    let stream = TcpStream::connect(authority.as_str()).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", authority.as_str());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).map_err(io::Error::other)?;
    // The connection is polled here, not in a task of its own: dropping this call closes it.
    let exchange = async {
        let reply = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(HttpReply { status: head.status, headers: head.headers, body })
    };
    tokio::pin!(connection, exchange);
    let mut open = true;
    loop {
        tokio::select! {
            reply = &mut exchange => return reply,
            _ = &mut connection, if open => open = false,
        }
    }
}

/// [`send`] with POST.
pub async fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<HttpReply> {
    send(Method::POST, url, headers, body).await
}

/// [`send`] with GET.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> io::Result<HttpReply> {
    send(Method::GET, url, headers, Bytes::new()).await
}
