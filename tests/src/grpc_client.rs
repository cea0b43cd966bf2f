//! A small gRPC client for tests: HTTP/2 without TLS, with any bytes as the body of a request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Export of the three services.
pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// See [`TRACES`].
pub const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// See [`TRACES`].
pub const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// An open connection.
#[derive(Clone)]
pub struct GrpcClient(SendRequest<UnsyncBoxBody<Bytes, Infallible>>);

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct GrpcReply {
    /// 200 for every answer that is gRPC.
    pub http_status: StatusCode,
    /// Headers, and trailers if they came apart.
    pub headers: HeaderMap,
    /// Whether the status came behind a message.
    pub has_trailers: bool,
    /// With the header of its frame.
    pub body: Bytes,
}

impl GrpcReply {
    /// `grpc-status`
    pub fn code(&self) -> Option<u16> {
        self.header("grpc-status")?.parse().ok()
    }

    /// A header's or trailer's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The message without the header of its frame.
    pub fn message(&self) -> &[u8] {
        self.body.get(5..).unwrap_or_default()
    }
}

/// The frame of a message.
pub fn frame(is_compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message of a test");
    [&[u8::from(is_compressed)], &length.to_be_bytes()[..], message].concat()
}

impl GrpcClient {
    /// Connects. An error if no server is there or it ends the connection.
    pub async fn connect(address: SocketAddr) -> io::Result<GrpcClient> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(GrpcClient(sender))
    }

    /// Calls a method with this body, which may be any bytes. `headers` add to those of gRPC or replace
    /// them.
    pub async fn call(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> io::Result<GrpcReply> {
        self.send(path, headers, Full::new(body.into()).boxed_unsync()).await
    }

    /// Calls a method with a body that never ends. Dropping the call resets its stream.
    pub async fn call_unfinished(
        &self,
        path: &str,
        beginning: impl Into<Bytes>,
    ) -> io::Result<GrpcReply> {
        let first = stream::iter([Ok(Frame::data(beginning.into()))]);
        self.send(path, &[], StreamBody::new(first.chain(stream::pending())).boxed_unsync()).await
    }

    async fn send(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: UnsyncBoxBody<Bytes, Infallible>,
    ) -> io::Result<GrpcReply> {
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("te", "trailers")
            .body(body)
            .map_err(io::Error::other)?;
        let given = [("content-type", "application/grpc")];
        for (name, value) in given.iter().chain(headers) {
            let name = http::HeaderName::try_from(*name).map_err(io::Error::other)?;
            request.headers_mut().insert(name, value.parse().map_err(io::Error::other)?);
        }
        let reply = self.0.clone().send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        let trailers = body.trailers().cloned();
        let has_trailers = trailers.is_some();
        let mut headers = head.headers;
        headers.extend(trailers.unwrap_or_default());
        Ok(GrpcReply { http_status: head.status, headers, has_trailers, body: body.to_bytes() })
    }
}
