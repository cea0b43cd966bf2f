//! `GET /api/activities/home`: the newest activities with their replies.

use tracing::{Span, field::Empty, instrument};

use super::shared;
use crate::{
    domain::{People, Thread},
    http::{ApiError, PAGED, PagedList, Request, Response, Route, thread_json},
    runtime::App,
    store::{PageOf, PageRequest, feeds, keys},
};

/// What this function answers.
pub const ROUTE: Route =
    Route::get("/api/activities/home").public().store_connections(keys::SHARDS);

/// An array of activities in their full shape, newest first.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let list = PagedList { route: ROUTE.path, of: "", query: PAGED };
    let (feed, people) = read_feed(app, &list.page(&request)?).await?;
    let activities: Vec<_> =
        feed.entries.iter().map(|thread| thread_json(thread, &people)).collect();
    shared::paged_response(&request, &list, feed.next.as_deref(), &activities)
}

#[instrument(name = "home-activities", skip_all, fields(app.now = Empty, app.result_length = Empty))]
async fn read_feed(app: &App, page: &PageRequest) -> Result<(PageOf<Thread>, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    Span::current().record("app.now", now.to_string());
    let feed = feeds::home(table, page, now).await?;
    shared::with_people(table, feed, Thread::authors, now).await
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
