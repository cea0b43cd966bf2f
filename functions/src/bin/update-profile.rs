//! `POST` and `PUT /api/profile/update`: how a user is called, and what they say about themselves.
use cruddur::{Error, endpoints::update_profile, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(update_profile::ROUTE, update_profile::handle).await
}
