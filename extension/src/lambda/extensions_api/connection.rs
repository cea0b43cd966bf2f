//! The connection to Lambda. hyper's client sends a request again over a new connection if the old one
//! was closed before the request was written, perhaps during a freeze.

use std::error::Error;

use bytes::Bytes;
use http::{Response, StatusCode, Uri, request, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::lambda::extensions_api::error::ApiError;

/// Far above any reply of these APIs.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// Connects at the first call, and again after a close.
#[derive(Debug)]
pub(super) struct ApiConnection {
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

type CallError = Box<dyn Error + Send + Sync>;

impl ApiConnection {
    pub(super) fn to(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Sends a request and reads the reply's body. Any status but 200 is an error, also the 202 of
    /// emulators that have no Telemetry API.
    pub(super) async fn send(
        &self,
        call: &'static str,
        request: request::Builder,
        body: Full<Bytes>,
    ) -> Result<(response::Parts, Bytes), ApiError> {
        let unreachable = |source| ApiError::Unreachable { call, source };
        let (head, body) = self.exchange(request, body).await.map_err(unreachable)?;
        if head.status != StatusCode::OK {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(ApiError::Refused { call, status: head.status, body });
        }
        Ok((head, body))
    }

    async fn exchange(
        &self,
        request: request::Builder,
        body: Full<Bytes>,
    ) -> Result<(response::Parts, Bytes), CallError> {
        let mut request = request.body(body)?;
        let path = request.uri().path();
        *request.uri_mut() = Uri::try_from(format!("http://{}{path}", self.address))?;
        let reply: Response<Incoming> = self.client.request(request).await?;
        let (head, body) = reply.into_parts();
        Ok((head, Limited::new(body, MAX_REPLY_BYTES).collect().await?.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::mpsc,
        thread,
    };

    use http::Request;

    use super::*;

    /// Accepts one connection for each of `answers` and reads a request from it. Answers if the value is
    /// true, closes the connection, and reports the close to the receiver.
    fn api(answers: &'static [bool]) -> (ApiConnection, mpsc::Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (closed, is_closed) = mpsc::channel();
        thread::spawn(move || {
            for is_answered in answers {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
                if *is_answered {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                }
                drop(stream);
                closed.send(()).unwrap();
            }
        });
        (ApiConnection::to(&address), is_closed)
    }

    async fn ask(connection: &ApiConnection) -> Result<Bytes, ApiError> {
        let request = Request::builder().uri("/next");
        connection.send("GET /next", request, Full::default()).await.map(|(_, body)| body)
    }

    #[tokio::test]
    async fn after_a_close_that_nobody_has_seen_yet_the_request_goes_over_a_new_connection() {
        let (connection, is_closed) = api(&[true, true, true]);

        for _ in 0..3 {
            assert_eq!(ask(&connection).await.unwrap(), "{}");
            // Blocks the only thread, as a freeze does: what serves the connection learns nothing.
            is_closed.recv().unwrap();
        }
    }

    #[tokio::test]
    async fn a_request_that_was_taken_and_not_answered_is_an_error_and_the_next_one_is_answered() {
        let (connection, is_closed) = api(&[true, false, true]);
        assert_eq!(ask(&connection).await.unwrap(), "{}");
        is_closed.recv().unwrap();

        let unanswered = ask(&connection).await;

        assert!(matches!(unanswered, Err(ApiError::Unreachable { .. })), "{unanswered:?}");
        assert_eq!(ask(&connection).await.unwrap(), "{}");
    }
}
