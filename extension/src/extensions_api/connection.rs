//! The connection to Lambda: one, since one thing is asked at a time. A client with a pool costs more
//! than everything else that is done before the first Next.

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
use tokio::{net::TcpStream, sync::Mutex};

use super::ApiError;

/// No reply of these APIs comes near this; our choice.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// Made with the first call, and again when it has been closed.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Connection {
    /// To a host and port.
    pub(super) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), sender: Mutex::default() }
    }

    /// Sends a request and reads the reply's body; anything but 200 is an error.
    ///
    /// That includes the 202 with which local emulators say that they have no Telemetry API.
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
    ) -> Result<(response::Parts, Bytes), Failure> {
        let host = HeaderValue::from_str(&self.address)?;
        let request = request.header(header::HOST, host).body(body)?;
        let mut open = self.sender.lock().await;
        let (mut sender, request) = match open.take() {
            None => (connect(&self.address).await?, request),
            Some(mut sender) => {
                let _ = sender.ready().await; // or it is closed, and gives the request back
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

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    // The type of the exporters' connections: what serves it is in the program once.
    let stream = MaybeHttpsStream::Http(TokioIo::new(stream));
    let (sender, connection) = handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(reply: Response<Incoming>) -> Result<(response::Parts, Bytes), Failure> {
    let (head, body) = reply.into_parts();
    Ok((head, Limited::new(body, MAX_REPLY_BYTES).collect().await?.to_bytes()))
}
