//! `PUT` and `DELETE /api/activities/{key}/like`: like an activity or a reply, or no longer.
use cruddur::{Error, endpoints::like_activity, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(like_activity::ROUTE, like_activity::handle).await
}
