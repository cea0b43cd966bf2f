//! `POST /api/activities`: publish an activity.
use cruddur::{Error, endpoints::create_activity, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(create_activity::ROUTE, create_activity::handle).await
}
