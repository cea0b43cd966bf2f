//! `GET /api/activities/notifications`: what others wrote to the reader.

use tracing::{field::Empty, instrument};

use super::shared;
use crate::{
    domain::{EntryTree, Identity, People},
    http::{ApiError, PAGED, PagedList, Request, Response, Route, entry_json, reader},
    runtime::App,
    store::{PageOf, PageRequest, feeds, users},
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/activities/notifications").store_connections(2);

/// An array of others' replies to the reader and of activities that mention them, newest first, all
/// in the full shape.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let reader = reader(&request, app.config().local.as_ref())?;
    let list = PagedList { route: ROUTE.path, of: &reader.key.to_string(), query: PAGED };
    let page = list.page(&request)?;
    let (notifications, people) = read_notifications(app, &reader, &page).await?;
    let entries: Vec<_> =
        notifications.entries.iter().map(|entry| entry_json(entry, &people)).collect();
    shared::paged_response(&request, &list, notifications.next.as_deref(), &entries)
}

#[instrument(name = "notifications-activities", skip_all, fields(app.result_length = Empty))]
async fn read_notifications(
    app: &App,
    reader: &Identity,
    page: &PageRequest,
) -> Result<(PageOf<EntryTree>, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let handles = users::handles_of(table, reader, now).await?.ok_or(ApiError::HandleTaken)?;
    let found = feeds::notifications(table, reader.key, &handles, page, now).await?;
    shared::with_people(table, found, EntryTree::authors, now).await
}
