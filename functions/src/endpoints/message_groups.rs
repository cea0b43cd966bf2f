//! `GET /api/message_groups`: the reader's conversations.

use tracing::{field::Empty, instrument};

use super::shared;
use crate::{
    domain::{MessageGroup, People, UserKey},
    http::{ApiError, PAGED, PagedList, Request, Response, Route, group_json, user_key},
    runtime::App,
    store::{PageOf, PageRequest, messages},
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/message_groups");

/// An array of conversations, the one with the newest message first.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let reader = user_key(&request, app.config().local.as_ref())?;
    let list = PagedList { route: ROUTE.path, of: &reader.to_string(), query: PAGED };
    let (groups, people) = read_groups(app, reader, &list.page(&request)?).await?;
    let rows: Vec<_> = groups.entries.iter().map(|group| group_json(group, &people)).collect();
    shared::paged_response(&request, &list, groups.next.as_deref(), &rows)
}

#[instrument(name = "message-groups", skip_all, fields(app.result_length = Empty))]
async fn read_groups(
    app: &App,
    reader: UserKey,
    page: &PageRequest,
) -> Result<(PageOf<MessageGroup>, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let groups = messages::groups(table, reader, page, now).await?;
    shared::with_people(table, groups, |group| [group.other], now).await
}
