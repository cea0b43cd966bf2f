//! `POST /api/messages`: send a message to a user or into a conversation.
use cruddur::{Error, endpoints::create_message, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(create_message::ROUTE, create_message::handle).await
}
