//! HTTP: what comes in, what goes out, and which status an error gets.

mod auth;
pub mod cors;
mod excerpts; // before `error`, which cuts what it quotes
mod error;
mod event;
mod lenient_text;
mod pagination;
mod path_key;
mod request;
mod response;
mod weights; // before the forms of replies, which read them
mod problem;
mod reply_form;
mod validation;
mod views; // the JSON of replies

pub use auth::{identity, reader, user_key};
pub use error::{ApiError, Missing};
pub use excerpts::{cut, masked_query};
pub use lenient_text::{TextField, present};
pub use pagination::{PAGED, PagedList};
pub use path_key::{PathKey, parse_uuid, path_handle};
pub use reply_form::ReplyForm;
pub use request::{Request, Route};
pub use response::{EncodeError, Response};
pub use validation::{Invalid, parsed_message, parsed_name};
pub use views::{
    entry_json, group_json, message_json, profile_json, reply_json, search_json, thread_json,
    user_json,
};
