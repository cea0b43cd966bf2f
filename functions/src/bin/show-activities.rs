//! `GET /api/activities/{key}`: the activities of `@handle`, or one activity or reply by its id.
use cruddur::{Error, endpoints::show_activities, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(show_activities::ROUTE, show_activities::handle).await
}
