//! Likes: each user's once, counted where it belongs.

use jiff::Timestamp;
use serde_json::Map;

use super::{StoreError, Table, Update, Write, codec, keys};
use crate::domain::{Entry, UserKey};

/// Notes that `user` likes `entry`, or that they no longer do, and counts it.
///
/// Doing so again changes nothing. `false`, and nothing is written, if the entry has gone.
pub async fn set_liked(
    table: &dyn Table,
    entry: &Entry,
    user: UserKey,
    liked: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let like = keys::like(entry.uuid(), user);
    let note = match liked {
        true => Write::Insert(codec::key_only(like, Some(entry.expires_at()))),
        false => Write::DeleteExisting(like),
    };
    let count = Write::Update(Update {
        key: codec::entry_key(entry),
        add: vec![(codec::LIKES, if liked { 1 } else { -1 })],
        set: Map::new(),
        listing: None,
    });
    match table.transact_write(&[note, count], now).await {
        Err(error) if error.is_condition_of(1) => Ok(false),
        Err(error) if error.is_condition_of(0) => Ok(true), // it is so already
        done => done.map(|()| true),
    }
}
