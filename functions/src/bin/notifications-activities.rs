//! `GET /api/activities/notifications`: what others wrote to the reader.
use cruddur::{Error, endpoints::notifications_activities, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::run(notifications_activities::ROUTE, notifications_activities::handle).await
}
