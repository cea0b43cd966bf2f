//! The function of a process that holds all of them.

use super::{
    browser_traces, create_activity, create_message, delete_activity, health_check,
    home_activities, like_activity, message_groups, notifications_activities, reply_activity,
    rollbar_test, search_activities, show_activities, show_messages, show_status, update_profile,
    user_profile, user_short,
};
use crate::{Error, runtime};

/// Runs a function by the name of its file in `src/bin`, such as `home-activities`.
pub async fn run(name: &str) -> Result<(), Error> {
    macro_rules! run_one_of {
        ($($endpoint:ident,)+) => {
            match name.replace('-', "_").as_str() {
                $(stringify!($endpoint) => runtime::run($endpoint::ROUTE, $endpoint::handle).await,)+
                _ => Err(format!("_HANDLER={name:?} is not a function").into()),
            }
        };
    }
    run_one_of! {
        browser_traces, create_activity, create_message, delete_activity, health_check,
        home_activities, like_activity, message_groups, notifications_activities, reply_activity,
        rollbar_test, search_activities, show_activities, show_messages, show_status,
        update_profile, user_profile, user_short,
    }
}
