//! Cruddur's backend: each endpoint is a Lambda function, and all of them are thin binaries over
//! this library.
//!
//! | route | binary and endpoint file |
//! |---|---|
//! | `GET /api/activities/home` | `home-activities` |
//! | `GET /api/activities/notifications` | `notifications-activities` |
//! | `GET /api/activities/search` | `search-activities` |
//! | `POST /api/activities` | `create-activity` |
//! | `GET /api/activities/{key}` | `show-activities` |
//! | `GET /api/activities/{key}/status/{uuid}` | `show-status` |
//! | `DELETE /api/activities/{key}` | `delete-activity` |
//! | `POST /api/activities/{key}/reply` | `reply-activity` |
//! | `PUT`, `DELETE /api/activities/{key}/like` | `like-activity` |
//! | `GET /api/message_groups` | `message-groups` |
//! | `GET /api/messages/{key}` | `show-messages` |
//! | `POST /api/messages` | `create-message` |
//! | `GET /api/users/{handle}` | `user-profile` |
//! | `GET /api/users/{handle}/short` | `user-short` |
//! | `POST`, `PUT /api/profile/update` | `update-profile` |
//! | `GET /api/health-check` | `health-check` |
//! | `GET /rollbar/test` | `rollbar-test` |
//! | `POST /api/telemetry/traces` | `browser-traces` |
//!
//! A request goes down the list of modules and its reply comes back up; the spans of both leave
//! for the extension once the reply has been posted. Read in this order:

pub mod domain; // activities, users and messages, without HTTP or a store
pub mod config; // every variable, read once
mod deadline; // until when it must have answered
mod panics; // what a caught panic says
pub mod http; // the request, the reply, and the only place a status is chosen
pub mod telemetry; // logs on stdout, spans to the extension
pub mod store; // access patterns over a small port, with an adapter per engine
pub mod runtime; // the runtime loop: event in, reply out, telemetry after it
pub mod endpoints; // one file per route
#[cfg(test)]
mod test_support;

pub use lambda_runtime::Error;
