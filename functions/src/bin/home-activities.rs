//! `GET /api/activities/home`: the newest cruds with their replies.
use cruddur::{Error, endpoints::home_activities, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::run(home_activities::ROUTE, home_activities::handle).await
}
