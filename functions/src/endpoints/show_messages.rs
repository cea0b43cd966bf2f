//! `GET /api/messages/{key}`: a conversation, by the other one's `@handle` or by its id.

use jiff::Timestamp;
use tracing::{field::Empty, info, instrument};
use uuid::Uuid;

use super::shared;
use crate::{
    domain::{Message, People, UserKey, conversation_uuid},
    http::{
        ApiError, Missing, PAGED, PagedList, PathKey, Request, Response, Route, message_json,
        user_key,
    },
    runtime::App,
    store::{PageOf, PageRequest, Table, messages, users},
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/messages/{key}");

/// An array of the newest messages, oldest first as the page shows them; the link leads to older
/// ones. None yet with `@handle` is an empty array; an id of others' conversation does not exist.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let reader = user_key(&request, app.config().local.as_ref())?;
    let key = PathKey::of(&request, Missing::MessageGroup)?;
    let (table, now) = (app.table().await?, app.now());
    let group = group_of(table, reader, &key, now).await?;
    let of = group.as_ref().map(Uuid::to_string).unwrap_or_default();
    let list = PagedList { route: ROUTE.path, of: &of, query: PAGED };
    let page = list.page(&request)?;
    let Some(group) = group else {
        info!(result_length = 0, "Serving a conversation that has not begun");
        return Ok(Response::ok(&[(); 0])?);
    };
    let (mut messages, people) = read_messages(table, group, &page, now).await?;
    messages.entries.reverse();
    let texts: Vec<_> =
        messages.entries.iter().map(|message| message_json(message, &people)).collect();
    shared::paged_response(&request, &list, messages.next.as_deref(), &texts)
}

/// The conversation; `None` if there is no such user. An id must be one of the reader's
/// conversations.
async fn group_of(
    table: &dyn Table,
    reader: UserKey,
    key: &PathKey,
    now: Timestamp,
) -> Result<Option<Uuid>, ApiError> {
    match key {
        PathKey::Uuid(group) => match messages::other_member(table, reader, *group, now).await? {
            Some(_) => Ok(Some(*group)),
            None => Err(ApiError::NotFound(Missing::MessageGroup)),
        },
        PathKey::Handle(other) => {
            let other = users::by_handle(table, other, now).await?;
            Ok(other.map(|other| conversation_uuid(reader, other.key)))
        }
    }
}

#[instrument(name = "show-messages", skip_all, fields(app.message_group_uuid = %group, app.result_length = Empty))]
async fn read_messages(
    table: &dyn Table,
    group: Uuid,
    page: &PageRequest,
    now: Timestamp,
) -> Result<(PageOf<Message>, People), ApiError> {
    let messages = messages::messages(table, group, page, now).await?;
    shared::with_people(table, messages, |message| [message.from], now).await
}
