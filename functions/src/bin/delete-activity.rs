//! `DELETE /api/activities/{key}`: delete one's own activity or reply.
use cruddur::{Error, endpoints::delete_activity, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(delete_activity::ROUTE, delete_activity::handle).await
}
