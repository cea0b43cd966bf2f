//! Typed values as items, and back.

mod activities;
mod item;

pub(super) use activities::{
    DELETED_REPLIES, LIKES, REPLIES, entry_key, erased, is_deleted, read_activity, read_pointer,
    read_reply,
};
pub use activities::{
    Recipient, activity_items, read_entry, reply_items, word_items, written_item,
};
pub(super) use item::{attributes, corrupt, key_only, parsed_key, with_attributes};
