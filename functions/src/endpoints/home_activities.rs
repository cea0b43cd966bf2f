//! `GET /api/activities/home`: the newest cruds with their replies.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    api::{ApiError, Reply, Request, Route, activity_json},
    app::App,
    domain::Thread,
    store::activities,
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/activities/home" };

/// An array of cruds in their full shape, newest first, at most [`activities::HOME_PAGE`].
pub async fn handle(app: &App, _request: Request) -> Result<Reply, ApiError> {
    let feed = read_feed(app).await?;
    info!(result_length = feed.len(), "Serving the home feed with {} cruds", feed.len());
    Reply::ok(&feed.iter().map(activity_json).collect::<Vec<_>>())
}

#[instrument(name = "home-activities", skip_all, fields(app.now = Empty, app.result_length = Empty))]
async fn read_feed(app: &App) -> Result<Vec<Thread>, ApiError> {
    let now = app.now();
    Span::current().record("app.now", now.to_string());
    let feed = activities::home(app.table().await?, now).await?;
    Span::current().record("app.result_length", feed.len() as i64);
    Ok(feed)
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
