//! All functions in one program, for the local run: a saved file costs one link instead of eighteen.
//!
//! `AWS_LAMBDA_FUNCTION_NAME` chooses the function of a process.

use cruddur::{Error, endpoints, runtime};

/// Calls `$with!` with the modules of all endpoints.
macro_rules! for_all_functions {
    ($with:ident) => {
        $with! {
            browser_traces, create_activity, create_message, delete_activity, health_check,
            home_activities, like_activity, message_groups, notifications_activities,
            reply_activity, rollbar_test, search_activities, show_activities, show_messages,
            show_status, update_profile, user_profile, user_short,
        }
    };
}

macro_rules! define_run {
    ($($endpoint:ident,)+) => {
        async fn run(name: &str) -> Result<(), Error> {
            match name.replace('-', "_").as_str() {
                $(stringify!($endpoint) => {
                    runtime::run(endpoints::$endpoint::ROUTE, endpoints::$endpoint::handle).await
                })+
                _ => Err(format!("AWS_LAMBDA_FUNCTION_NAME={name:?} is not a function").into()),
            }
        }
    };
}

for_all_functions!(define_run);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(&std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default()).await
}

#[cfg(test)]
mod tests {
    macro_rules! names {
        ($($endpoint:ident,)+) => { [$(stringify!($endpoint).replace('_', "-")),+] };
    }

    #[test]
    fn each_file_of_bin_is_a_function_here() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut of_bin: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        of_bin.sort();

        assert_eq!(for_all_functions!(names).to_vec(), of_bin);
    }
}
