//! `GET /api/activities/home`: the newest activities with their replies.
use cruddur::{Error, endpoints::home_activities, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(home_activities::ROUTE, home_activities::handle).await
}
