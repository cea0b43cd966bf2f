//! `GET /api/users/{handle}`: a user's profile.
use cruddur::{Error, endpoints::user_profile, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(user_profile::ROUTE, user_profile::handle).await
}
