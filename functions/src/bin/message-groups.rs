//! `GET /api/message_groups`: the reader's conversations.
use cruddur::{Error, endpoints::message_groups, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::run(message_groups::ROUTE, message_groups::handle).await
}
