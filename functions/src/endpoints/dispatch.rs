//! The function of a process that holds all of them.

use crate::{
    Error,
    runtime::{self, App},
};

/// Calls `$with!` with the modules of all endpoints.
macro_rules! for_all_endpoints {
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
        /// Runs a function by the name of its file in `src/bin`, such as `home-activities`. The
        /// value of `begin` lives as long as a request is handled.
        pub async fn run<Running>(
            name: &str,
            begin: impl Fn() -> Running + Clone + Send + Sync + 'static,
        ) -> Result<(), Error>
        where
            Running: Send + 'static,
        {
            match name.replace('-', "_").as_str() {
                $(stringify!($endpoint) => {
                    let handle = move |app: &'static App, request| {
                        let running = begin();
                        async move {
                            let _running = running;
                            super::$endpoint::handle(app, request).await
                        }
                    };
                    runtime::run(super::$endpoint::ROUTE, handle).await
                })+
                _ => Err(format!("the handler {name:?} is not a function").into()),
            }
        }
    };
}

for_all_endpoints!(define_run);

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

        assert_eq!(for_all_endpoints!(names).to_vec(), of_bin);
    }
}
