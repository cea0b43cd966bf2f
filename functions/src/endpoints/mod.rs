//! One file per route: what it answers to, and how.

pub mod browser_traces;
pub mod create_activity;
pub mod create_message;
pub mod delete_activity;
pub mod dispatch; // all of them by name
pub mod health_check;
pub mod home_activities;
pub mod like_activity;
pub mod message_groups;
pub mod notifications_activities;
pub mod reply_activity;
pub mod rollbar_test;
pub mod search_activities;
pub mod show_activities;
pub mod show_messages;
pub mod show_status;
mod errors;
mod shared; // what several of them do alike
pub mod update_profile;
pub mod user_profile;
pub mod user_short;

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
