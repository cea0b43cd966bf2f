//! HTTP: what comes in, what goes out, and which status an error gets.

mod activity;
pub mod cors;
mod error;
mod field;
mod identity;
mod invalid;
mod message;
mod page;
mod path_key;
mod reply;
mod request;

pub use activity::{feed_json, post_json, reply_json, search_json, thread_json};
pub use error::{ApiError, Missing};
pub use field::{TextField, present};
pub use identity::{identity, user_key};
pub use invalid::{Invalid, message};
pub use message::{group_json, message_json, user_json};
pub use page::{List, PAGED};
pub use path_key::{PathKey, parse_uuid, path_handle};
pub use reply::Reply;
pub use request::{Request, Route};
