//! `GET /api/activities/notifications`: what others wrote to the reader.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    api::{ApiError, Reply, Request, Route, identity, page_request, post_json, with_next},
    app::App,
    domain::{Identity, PostTree},
    store::{Listed, PageRequest, feeds, users},
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/activities/notifications" };

/// An array of others' replies to the reader and of cruds that mention them, newest first, all in
/// the full shape.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let reader = identity(&request, app.config().local.as_ref())?;
    let list = [ROUTE.path, reader.handle.as_str()];
    let page = page_request(&request, &list)?;
    let notifications = read_notifications(app, &reader, &page).await?;
    let length = notifications.entries.len();
    info!(result_length = length, "Serving {length} notifications");
    let reply = Reply::ok(&notifications.entries.iter().map(post_json).collect::<Vec<_>>())?;
    Ok(with_next(reply, &request, &list, notifications.next.as_deref()))
}

#[instrument(name = "notifications-activities", skip_all, fields(app.result_length = Empty))]
async fn read_notifications(
    app: &App,
    reader: &Identity,
    page: &PageRequest,
) -> Result<Listed<PostTree>, ApiError> {
    let (table, now) = (app.table().await?, app.now());
    if !users::may_use_handle(table, reader, now).await? {
        return Err(ApiError::HandleTaken);
    }
    let notifications = feeds::notifications(table, &reader.handle, page, now).await?;
    Span::current().record("app.result_length", notifications.entries.len() as i64);
    Ok(notifications)
}
