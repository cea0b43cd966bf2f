//! Write quotas: how many writes of a kind a user may make in ten minutes.
//!
//! A window begins every ten minutes on the clock, for all users. One conditional update counts a
//! write, before the transaction that it is for: a count inside that transaction would conflict with
//! the user's other writes. A write that fails afterwards has used one.

use jiff::Timestamp;

use super::{Count, StoreError, Table, Write, keys};
use crate::domain::UserKey;

const WINDOW_SECONDS: i64 = 600;

/// Writes that share a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Activities and replies.
    Texts,
    /// Likes, likes taken back, and messages.
    Others,
}

/// Counts a write of `user`. Gives the seconds until the next window if there have been `limit` in
/// this one; nothing is counted then.
pub async fn spend(
    table: &dyn Table,
    user: UserKey,
    kind: Kind,
    limit: u32,
    now: Timestamp,
) -> Result<Option<u64>, StoreError> {
    let passed = now.as_second().rem_euclid(WINDOW_SECONDS);
    let window = now.as_second() - passed;
    let name = match kind {
        Kind::Texts => "texts",
        Kind::Others => "others",
    };
    let count = Count {
        key: keys::quota(user, name, window),
        add: vec![("writes", 1)],
        below: Some(("writes", i64::from(limit))),
        // A window more, for functions whose clocks are behind.
        expires_at_seconds: Some(window + 2 * WINDOW_SECONDS),
    };
    match table.transact_write(&[Write::Count(count)], now).await {
        Err(StoreError::ConditionsFailed { .. }) => Ok(Some((WINDOW_SECONDS - passed) as u64)),
        done => done.map(|()| None),
    }
}
