//! `GET /api/activities/notifications`: what others wrote to the reader.
use cruddur::{Error, endpoints::notifications_activities, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(notifications_activities::ROUTE, notifications_activities::handle).await
}
