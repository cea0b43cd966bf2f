//! What Cruddur talks about, free of HTTP and of any store.

mod activity;
mod text;

pub use activity::{Activity, Counters, Reply, ReplyTree, Thread};
pub use text::{Handle, MAX_MESSAGE_CHARS, MessageText, TextError};
