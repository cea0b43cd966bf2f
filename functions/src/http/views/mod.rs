//! The JSON of replies, one file for each kind of thing.

mod activity;
mod message;

pub use activity::{entry_json, reply_json, search_json, thread_json};
pub use message::{group_json, message_json, profile_json, user_json};
