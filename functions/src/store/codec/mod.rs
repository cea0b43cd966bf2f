//! Typed values as items, and back.

mod activities;
mod item;

pub(super) use activities::{
    LIKES, REPLIES, post_key, read_crud, read_excerpt, read_pointer, read_reply,
};
pub use activities::{crud_items, read_post, reply_items};
pub(super) use item::{attributes, bare, corrupt, item, parsed_key};
