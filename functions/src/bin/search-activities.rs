//! `GET /api/activities/search`: the activities that hold some words.
use cruddur::{Error, endpoints::search_activities, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(search_activities::ROUTE, search_activities::handle).await
}
