//! Reading a request's body within limits: of its own, of time, and of all bodies together.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// A client that has not sent its body by then is cut off. Our choice; clients are local.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most that is allocated because a client says that so much will come. Our choice: more than usual
/// requests have, and nothing until it is written to.
const MAX_AT_ONCE: usize = 1 << 20;

/// BodyBudget for the bodies that are under way, in bytes: however many clients there are, their
/// requests take no more of the function's memory.
#[derive(Debug)]
pub struct BodyBudget(Semaphore);

/// BodyBudget that is taken, until this is dropped.
#[derive(Debug)]
pub struct Reservation<'a>(Option<SemaphorePermit<'a>>);

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than its limit.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// The client was too slow.
    #[error("the body did not arrive in time")]
    Late,
    /// The connection, or its encoding, broke.
    #[error("the body broke off: {0}")]
    Broken(hyper::Error),
    /// Too much is under way.
    #[error("too much at once, try again")]
    NoRoom,
}

impl BodyError {
    /// The status that a client gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE, // clients try again
        }
    }
}

impl BodyBudget {
    /// BodyBudget for so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
    }

    /// None yet.
    pub fn none(&self) -> Reservation<'_> {
        Reservation(None)
    }

    /// Adds to what a request takes.
    pub fn take<'a>(&'a self, taken: &mut Reservation<'a>, bytes: usize) -> Result<(), BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::NoRoom)?;
        let more = self.0.try_acquire_many(bytes).map_err(|_| BodyError::NoRoom)?;
        match &mut taken.0 {
            Some(permit) => permit.merge(more),
            None => taken.0 = Some(more),
        }
        Ok(())
    }
}

/// The body as it came, at most `max_bytes`, and the room that it takes.
pub async fn read(
    request: Request<Incoming>,
    max_bytes: usize,
    room: &BodyBudget,
) -> Result<(Bytes, Reservation<'_>), BodyError> {
    let (mut body, mut taken) = (request.into_body(), room.none());
    let said = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut all = BytesMut::with_capacity(said.min(MAX_AT_ONCE));
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
            if all.len() + data.len() > max_bytes {
                return Err(BodyError::TooLarge(max_bytes));
            }
            room.take(&mut taken, data.len())?;
            all.extend_from_slice(&data);
        }
        Ok(())
    };
    timeout(TIMEOUT, read).await.unwrap_or(Err(BodyError::Late))?;
    Ok((all.freeze(), taken))
}
