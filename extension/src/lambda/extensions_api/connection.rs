//! The one connection to Lambda, since calls are sequential.
//!
//! hyper's pooled client is as quick before the first Next, but sometimes a request over a connection that
//! was closed during a freeze fails there. This one sends such a request again.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex, task::yield_now};

use crate::lambda::extensions_api::error::ApiError;

/// Far above any reply of these APIs.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// Connects at the first call, and again after a close.
#[derive(Debug)]
pub(super) struct ApiConnection {
    address: String,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

type CallError = Box<dyn Error + Send + Sync>;

impl ApiConnection {
    pub(super) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), sender: Mutex::default() }
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
        let host = HeaderValue::from_str(&self.address)?;
        let request = request.header(header::HOST, host).body(body)?;
        let mut open = self.sender.lock().await;
        let (mut sender, request) = match open.take() {
            None => (connect(&self.address).await?, request),
            Some(mut sender) => {
                // The yield lets the connection's task notice a close, perhaps during a freeze. The
                // request is then returned unsent; otherwise it would be lost.
                yield_now().await;
                let _ = sender.ready().await;
                match sender.try_send_request(request).await {
                    Ok(reply) => {
                        *open = Some(sender);
                        return read(reply).await;
                    }
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => (connect(&self.address).await?, unsent),
                        None => return Err(error.into_error().into()),
                    },
                }
            }
        };
        let reply = sender.send_request(request).await?;
        *open = Some(sender);
        read(reply).await
    }
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, CallError> {
    let stream = TcpStream::connect(address).await?;
    // The same type as the exporters' connections, so the binary holds its code once.
    let stream = MaybeHttpsStream::Http(TokioIo::new(stream));
    let (sender, connection) = handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(reply: Response<Incoming>) -> Result<(response::Parts, Bytes), CallError> {
    let (head, body) = reply.into_parts();
    Ok((head, Limited::new(body, MAX_REPLY_BYTES).collect().await?.to_bytes()))
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
