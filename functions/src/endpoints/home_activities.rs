//! `GET /api/activities/home`: the newest cruds with their replies.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    api::{ApiError, Reply, Request, Route, page_request, thread_json, with_next},
    app::App,
    domain::Thread,
    store::{Listed, PageRequest, activities},
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/activities/home" };

/// An array of cruds in their full shape, newest first.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let list = [ROUTE.path];
    let page = page_request(&request, &list)?;
    let feed = read_feed(app, &page).await?;
    let length = feed.entries.len();
    info!(result_length = length, "Serving the home feed with {length} cruds");
    let reply = Reply::ok(&feed.entries.iter().map(thread_json).collect::<Vec<_>>())?;
    Ok(with_next(reply, &request, &list, feed.next.as_deref()))
}

#[instrument(name = "home-activities", skip_all, fields(app.now = Empty, app.result_length = Empty))]
async fn read_feed(app: &App, page: &PageRequest) -> Result<Listed<Thread>, ApiError> {
    let now = app.now();
    Span::current().record("app.now", now.to_string());
    let feed = activities::home(app.table().await?, page, now).await?;
    Span::current().record("app.result_length", feed.entries.len() as i64);
    Ok(feed)
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
