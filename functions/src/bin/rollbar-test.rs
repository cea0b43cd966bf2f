//! `GET /rollbar/test`: sends a message to Rollbar, to see that it arrives.
use cruddur::{Error, endpoints::rollbar_test, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(rollbar_test::ROUTE, rollbar_test::handle).await
}
