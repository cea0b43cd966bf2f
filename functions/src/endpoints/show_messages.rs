//! `GET /api/messages/{key}`: a conversation, by the other one's `@handle` or by its id.

use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use crate::{
    api::{
        ApiError, Missing, PathKey, Reply, Request, Route, identity, message_json, page_request,
        with_next,
    },
    app::App,
    domain::{Identity, Message, conversation_uuid},
    store::{Listed, PageRequest, Table, messages, users},
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/messages/{key}" };

/// An array of the newest messages, oldest first as the page shows them; the link leads to older
/// ones. None yet with `@handle` is an empty array; an id of others' conversation does not exist.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let reader = identity(&request, app.config().local.as_ref())?;
    let key = PathKey::of(&request, Missing::MessageGroup)?;
    let table = app.table().await?;
    let Some(group) = group_of(app, table, &reader, &key).await? else {
        info!(result_length = 0, "Serving a conversation that has not begun");
        return Reply::ok(&[(); 0]);
    };
    let group_text = group.to_string();
    let list = [ROUTE.path, &group_text];
    let page = page_request(&request, &list)?;
    let mut messages = read_messages(app, group, &page).await?;
    messages.entries.reverse();
    let length = messages.entries.len();
    info!(result_length = length, "Serving {length} messages");
    let reply = Reply::ok(&messages.entries.iter().map(message_json).collect::<Vec<_>>())?;
    Ok(with_next(reply, &request, &list, messages.next.as_deref()))
}

/// The conversation, if it has begun and the reader is one of the two.
async fn group_of(
    app: &App,
    table: &dyn Table,
    reader: &Identity,
    key: &PathKey,
) -> Result<Option<Uuid>, ApiError> {
    let now = app.now();
    match key {
        PathKey::Uuid(group) => match messages::other_in(table, &reader.key, *group, now).await? {
            Some(_) => Ok(Some(*group)),
            None => Err(ApiError::NotFound(Missing::MessageGroup)),
        },
        PathKey::Handle(other) => {
            let other = users::by_handle(table, other, now).await?;
            Ok(other.map(|other| conversation_uuid(&reader.key, &other.key)))
        }
    }
}

#[instrument(name = "show-messages", skip_all, fields(app.message_group_uuid = %group, app.result_length = Empty))]
async fn read_messages(
    app: &App,
    group: Uuid,
    page: &PageRequest,
) -> Result<Listed<Message>, ApiError> {
    let messages = messages::messages(app.table().await?, group, page, app.now()).await?;
    Span::current().record("app.result_length", messages.entries.len() as i64);
    Ok(messages)
}
