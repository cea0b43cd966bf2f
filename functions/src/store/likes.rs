//! Likes: each user's once, counted where it belongs.

use jiff::Timestamp;
use serde_json::Map;

use super::{StoreError, Table, Update, Write, codec, keys};
use crate::domain::{Post, UserKey};

/// Notes that `user` likes `post`, or that they no longer do, and counts it.
///
/// Doing so again changes nothing. `false`, and nothing is written, if the post has gone.
pub async fn set(
    table: &dyn Table,
    post: &Post,
    user: &UserKey,
    liked: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let like = keys::like(post.uuid(), user);
    let note = match liked {
        true => Write::Create(codec::bare(like, Some(post.expires_at()))),
        false => Write::Remove(like),
    };
    let count = Write::Update(Update {
        key: codec::post_key(post),
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
