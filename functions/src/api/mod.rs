//! HTTP: what comes in, what goes out, and which status an error gets.

mod activity;
pub mod cors;
mod error;
mod identity;
mod invalid;
mod message;
mod page;
mod path_key;
mod reply;
mod request;

pub use activity::{feed_json, post_json, reply_json, search_json, thread_json};
pub use error::{ApiError, Missing};
pub use identity::identity;
pub use invalid::{Invalid, message};
pub use message::{group_json, message_json, user_json};
pub use page::{DEFAULT_LIMIT, List, MAX_LIMIT, page_request, with_next};
pub use path_key::{PathKey, parse_uuid, path_handle};
pub use reply::Reply;
pub use request::{Request, Route};
