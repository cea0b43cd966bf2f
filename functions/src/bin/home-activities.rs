//! `GET /api/activities/home`: the newest cruds with their replies.
use cruddur::{Error, endpoints::home_activities, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(home_activities::ROUTE, home_activities::handle).await
}
