//! `GET /api/activities/{key}/status/{uuid}`: a text of a user with the replies to it.
use cruddur::{Error, endpoints::show_status, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(show_status::ROUTE, show_status::handle).await
}
