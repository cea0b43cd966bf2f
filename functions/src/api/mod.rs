//! HTTP: what comes in, what goes out, and which status an error gets.

mod activity;
mod error;
mod reply;
mod request;

pub use activity::activity_json;
pub use error::ApiError;
pub use reply::Reply;
pub use request::{Request, Route};
