//! `GET /api/messages/{key}`: a conversation, by the other one's `@handle` or by its id.
use cruddur::{Error, endpoints::show_messages, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(show_messages::ROUTE, show_messages::handle).await
}
