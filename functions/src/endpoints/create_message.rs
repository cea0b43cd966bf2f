//! `POST /api/messages`: send a message to a user or into a conversation.

use jiff::Timestamp;
use serde::Deserialize;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared::{self, Idempotency, MAX_MESSAGE_BODY};
use crate::{
    domain::{Handle, Identity, LongText, Message, People, TextError, UserKey, conversation_uuid},
    http::{
        ApiError, Invalid, Missing, Request, Response, Route, TextField, identity, message_json,
        parse_uuid, parsed_message,
    },
    runtime::App,
    store::{Table, messages, quota::Kind, users},
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["POST"], "/api/messages");

/// What pages send: a message, and a conversation's id or the receiver's handle. A field of another
/// type is as good as none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateMessageBody {
    message: TextField,
    message_group_uuid: TextField,
    user_receiver_handle: TextField,
    /// The receiver, as later pages call it.
    handle: TextField,
}

/// Where a message goes.
enum Receiver {
    User(Handle),
    Group(Uuid),
}

/// The new message.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let (message, receiver) = parse(&request)?;
    let idempotency = Idempotency::of(&request, &ROUTE, "", identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    idempotency
        .run(table, now, async || {
            shared::spend_quota(app, identity.key, Kind::Others, now).await?;
            send(table, &identity, &receiver, message, &idempotency, now).await
        })
        .await
}

fn parse(request: &Request) -> Result<(LongText, Receiver), ApiError> {
    let body: CreateMessageBody = request.json(MAX_MESSAGE_BODY)?;
    // In the order in which the original lets one error win over another.
    let message = parsed_message(LongText::parse(body.message.as_str()))?;
    let group = body.message_group_uuid.as_str();
    if !group.is_empty() {
        let group = parse_uuid(group).ok_or(ApiError::NotFound(Missing::MessageGroup))?;
        return Ok((message, Receiver::Group(group)));
    }
    let names = [&body.user_receiver_handle, &body.handle].map(TextField::as_str);
    let handle = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    let handle = Handle::parse(handle).map_err(|error| match error {
        TextError::Blank => Invalid::ReceiverBlank.into(),
        _ => ApiError::NotFound(Missing::User),
    })?;
    Ok((message, Receiver::User(handle)))
}

#[instrument(name = "create-message", skip_all, fields(app.message_uuid = Empty, app.message_group_uuid = Empty))]
async fn send(
    table: &dyn Table,
    identity: &Identity,
    receiver: &Receiver,
    message: LongText,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let to = find_receiver(table, identity, receiver, now).await?;
    let from = shared::ensure_author(table, identity, now).await?;
    let message = Message {
        uuid: Uuid::new_v4(),
        group_uuid: conversation_uuid(from.key, to),
        from: from.key,
        message,
        created_at: now,
    };
    Span::current().record("app.message_uuid", message.uuid.to_string());
    Span::current().record("app.message_group_uuid", message.group_uuid.to_string());
    let reply = Response::ok(&message_json(&message, &People::new([from])))?;
    messages::send(table, to, &message, idempotency.remember(&reply, now)?, now).await?;
    info!(message.uuid = %message.uuid, "Sent a message");
    Ok(reply)
}

async fn find_receiver(
    table: &dyn Table,
    from: &Identity,
    receiver: &Receiver,
    now: Timestamp,
) -> Result<UserKey, ApiError> {
    match receiver {
        Receiver::Group(group) => messages::other_member(table, from.key, *group, now)
            .await?
            .ok_or(ApiError::NotFound(Missing::MessageGroup)),
        Receiver::User(handle) => {
            let user = users::by_handle(table, handle, now).await?;
            user.map(|user| user.key).ok_or(ApiError::NotFound(Missing::User))
        }
    }
}
