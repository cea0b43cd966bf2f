//! `GET /api/message_groups`: the reader's conversations.
use cruddur::{Error, endpoints::message_groups, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(message_groups::ROUTE, message_groups::handle).await
}
