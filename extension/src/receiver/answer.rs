//! The body of an answer: bytes, and for gRPC the trailers behind them; or chunks over time.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

#[derive(Debug, Default)]
pub struct AnswerBody {
    bytes: Full<Bytes>,
    trailers: Option<HeaderMap>,
    chunks: Option<mpsc::Receiver<Bytes>>,
}

impl AnswerBody {
    /// Ends when the sender is dropped.
    pub fn of_chunks(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self { chunks: Some(chunks), ..Self::default() }
    }

    pub fn with_trailers(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self { bytes: Full::new(bytes), trailers: Some(trailers), chunks: None }
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(bytes: Full<Bytes>) -> Self {
        Self { bytes, trailers: None, chunks: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(chunks) = &mut self.chunks {
            return chunks.poll_recv(context).map(|chunk| Some(Ok(Frame::data(chunk?))));
        }
        match Pin::new(&mut self.bytes).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok)),
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_none() && self.bytes.is_end_stream() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.chunks {
            Some(_) => SizeHint::default(),
            None => self.bytes.size_hint(),
        }
    }
}
