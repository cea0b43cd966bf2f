//! `GET /api/users/{handle}/short`: who a handle is.
use cruddur::{Error, endpoints::user_short, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(user_short::ROUTE, user_short::handle).await
}
