//! Requests that carry an idempotency key: done once, however often they come.
//!
//! The note of the answer is part of the transaction that does the request, so there is no moment
//! in which one is there without the other.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Consistency, Key, StoreError, Table, Write, codec, keys};
use crate::domain::{UserKey, digest};

/// How long an answer is remembered.
const MEMORY: SignedDuration = SignedDuration::from_hours(24);

/// A request with an idempotency key.
pub struct IdempotentRequest {
    key: Key,
    fingerprint: String,
}

/// What is known of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing: it has not been done.
    Nothing,
    /// It has been done, and was answered with this body.
    Answer(String),
    /// Another request had the same key.
    OtherRequest,
}

#[derive(Serialize, Deserialize)]
struct Note {
    fingerprint: String,
    body: String,
}

impl IdempotentRequest {
    /// `content` is all that makes the request what it is: where it goes and its body.
    pub fn new(user: UserKey, route: &str, idempotency_key: &str, content: &[&[u8]]) -> Self {
        let hash = digest::of(content);
        Self {
            key: keys::answered_request(user, route, idempotency_key),
            fingerprint: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Whether it has been done before.
    pub async fn earlier(&self, table: &dyn Table, now: Timestamp) -> Result<Lookup, StoreError> {
        let mut items =
            table.get(std::slice::from_ref(&self.key), Consistency::Strong, now).await?;
        let note = items.pop().flatten().map(codec::attributes::<Note>).transpose()?;
        Ok(match note {
            None => Lookup::Nothing,
            Some(note) if note.fingerprint == self.fingerprint => Lookup::Answer(note.body),
            Some(_) => Lookup::OtherRequest,
        })
    }

    /// The write that stores the answer `body`, for the transaction of the request. Its condition
    /// fails if another request with the key was faster.
    pub fn remember(&self, body: &str, now: Timestamp) -> Result<Write, StoreError> {
        let note = Note { fingerprint: self.fingerprint.clone(), body: body.to_owned() };
        codec::with_attributes(self.key.clone(), Some(now + MEMORY), &note).map(Write::Insert)
    }
}

/// Does the writes of a request together with the write that stores its answer, if there is one.
///
/// Fails with [`StoreError::AnsweredBefore`] if another request with the same key was faster; other
/// failed conditions are reported by their positions in `writes`.
pub(super) async fn write_once(
    table: &dyn Table,
    mut writes: Vec<Write>,
    answered: Option<Write>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let position = writes.len();
    writes.extend(answered);
    match table.transact_write(&writes, now).await {
        Err(error) if error.is_condition_of(position) => Err(StoreError::AnsweredBefore),
        done => done,
    }
}
