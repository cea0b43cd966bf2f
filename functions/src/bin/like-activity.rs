//! `PUT` and `DELETE /api/activities/{key}/like`: like a crud or a reply, or no longer.
use cruddur::{Error, endpoints::like_activity, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(like_activity::ROUTE, like_activity::handle).await
}
