//! `GET /api/activities/search`: the cruds that hold some words.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    api::{ApiError, Invalid, Reply, Request, Route, page_request, search_json, with_next},
    app::App,
    domain::{Excerpt, search_words},
    store::{Listed, PageRequest, feeds},
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/activities/search" };

/// An array of the cruds that hold every word of `term`, newest first; of words, `@handle` and
/// `#tag` with at least two characters. A term without any finds nothing.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let term = request.query_parameter("term").unwrap_or_default();
    if term.trim().is_empty() {
        return Err(Invalid::SearchTermBlank.into());
    }
    let words = search_words(term);
    let list = [ROUTE.path, &words.join(" ")];
    let page = page_request(&request, &list)?;
    let found = search(app, &words, &page).await?;
    let length = found.entries.len();
    info!(result_length = length, "Found {length} cruds");
    let reply = Reply::ok(&found.entries.iter().map(search_json).collect::<Vec<_>>())?;
    Ok(with_next(reply, &request, &list, found.next.as_deref()))
}

#[instrument(name = "search-activities", skip_all, fields(app.result_length = Empty))]
async fn search(
    app: &App,
    words: &[String],
    page: &PageRequest,
) -> Result<Listed<Excerpt>, ApiError> {
    let found = feeds::search(app.table().await?, words, page, app.now()).await?;
    Span::current().record("app.result_length", found.entries.len() as i64);
    Ok(found)
}
