//! Reads and decompresses request bodies within limits: of each body, of time, and of all bodies together.

use std::{io::Read, time::Duration};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::client::freeze::timeout_awake;

/// The time limit for a body, without freezes. Clients are local, so ten seconds mean a hung client.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes allocated for an announced length: more than usual requests have.
const MAX_AT_ONCE: usize = 1 << 20;

/// The bytes for all bodies in progress, which bounds the use of the function's memory by any number of
/// clients.
#[derive(Debug)]
pub struct BodyBudget(Semaphore);

/// Reserved bytes, returned on drop.
#[derive(Debug)]
pub struct Reservation<'a>(Option<SemaphorePermit<'a>>);

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("more than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    Late,
    #[error("the body broke off: {0}")]
    Broken(hyper::Error),
    #[error("gzip: {0}")]
    Gzip(std::io::Error),
    #[error("too much at once, try again")]
    NoRoom,
}

impl BodyError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) | Self::Gzip(_) => StatusCode::BAD_REQUEST,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE, // clients try again
        }
    }
}

impl BodyBudget {
    pub fn new(bytes: usize) -> Self {
        Self(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
    }

    pub fn none(&self) -> Reservation<'_> {
        Reservation(None)
    }

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

/// Reads a body of at most `max_bytes`, with its reservation.
pub async fn read(
    request: Request<Incoming>,
    max_bytes: usize,
    room: &BodyBudget,
) -> Result<(Bytes, Reservation<'_>), BodyError> {
    let (mut body, mut taken) = (request.into_body(), room.none());
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut all = BytesMut::with_capacity(announced.min(MAX_AT_ONCE));
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
    timeout_awake(TIMEOUT, read).await.unwrap_or(Err(BodyError::Late))?;
    Ok((all.freeze(), taken))
}

/// Decompresses a whole body, which may have several members, to at most `max_bytes`.
pub fn gunzip(body: &[u8], max_bytes: usize) -> Result<Bytes, BodyError> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(body)
        .take((max_bytes as u64).saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(BodyError::Gzip)?;
    match plain.len() > max_bytes {
        true => Err(BodyError::TooLarge(max_bytes)),
        false => Ok(plain.into()),
    }
}
