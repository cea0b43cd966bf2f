//! What Cruddur talks about, free of HTTP and of any store.

mod activity;
pub(crate) mod digest;
mod entities;
mod message;
mod page;
mod text;
mod ttl;
mod user;
mod words;

pub use activity::{Activity, Counters, Entry, EntryTree, Reply, ReplyTree, Thread};
pub use message::{Message, MessageGroup, conversation_uuid};
pub use page::{PageOf, PageRequest, is_position, parse_position, position, sortable};
pub use text::{Bio, DisplayName, Handle, LongText, MessageText, Text, TextError};
pub use ttl::Ttl;
pub use user::{Identity, Names, People, User, UserKey, Written};
pub use words::{mentions, search_words, words};
