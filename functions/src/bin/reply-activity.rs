//! `POST /api/activities/{key}/reply`: answer an activity or a reply.
use cruddur::{Error, endpoints::reply_activity, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(reply_activity::ROUTE, reply_activity::handle).await
}
