//! `GET /api/activities/{key}`: the cruds of `@handle`, or one crud or reply by its id.
use cruddur::{Error, endpoints::show_activities, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::run(show_activities::ROUTE, show_activities::handle).await
}
