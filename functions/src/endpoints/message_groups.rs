//! `GET /api/message_groups`: the reader's conversations.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    api::{ApiError, Reply, Request, Route, group_json, identity, page_request, with_next},
    app::App,
    domain::{MessageGroup, UserKey},
    store::{Listed, PageRequest, messages},
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/message_groups" };

/// An array of conversations, the one with the newest message first.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let reader = identity(&request, app.config().local.as_ref())?;
    let list = [ROUTE.path, reader.key.as_str()];
    let page = page_request(&request, &list)?;
    let groups = read_groups(app, &reader.key, &page).await?;
    let length = groups.entries.len();
    info!(result_length = length, "Serving {length} conversations");
    let reply = Reply::ok(&groups.entries.iter().map(group_json).collect::<Vec<_>>())?;
    Ok(with_next(reply, &request, &list, groups.next.as_deref()))
}

#[instrument(name = "message-groups", skip_all, fields(app.result_length = Empty))]
async fn read_groups(
    app: &App,
    reader: &UserKey,
    page: &PageRequest,
) -> Result<Listed<MessageGroup>, ApiError> {
    let groups = messages::groups(app.table().await?, reader, page, app.now()).await?;
    Span::current().record("app.result_length", groups.entries.len() as i64);
    Ok(groups)
}
