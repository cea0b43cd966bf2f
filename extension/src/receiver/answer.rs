//! The body of an answer: bytes, and for gRPC the trailers behind them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

#[derive(Debug, Default)]
pub struct AnswerBody {
    bytes: Full<Bytes>,
    trailers: Option<HeaderMap>,
}

impl AnswerBody {
    pub fn with_trailers(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self { bytes: Full::new(bytes), trailers: Some(trailers) }
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(bytes: Full<Bytes>) -> Self {
        Self { bytes, trailers: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match Pin::new(&mut self.bytes).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok)),
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
