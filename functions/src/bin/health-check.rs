//! `GET /api/health-check`: is the function alive?
use cruddur::{Error, endpoints::health_check, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(health_check::ROUTE, health_check::handle).await
}
