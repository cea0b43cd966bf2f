//! `GET /api/activities/search`: the cruds that hold some words.
use cruddur::{Error, endpoints::search_activities, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::run(search_activities::ROUTE, search_activities::handle).await
}
