//! `GET /api/health-check`: is the function alive?
use cruddur::{Error, endpoints::health_check, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::run(health_check::ROUTE, health_check::handle).await
}
