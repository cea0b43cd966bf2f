//! `GET /api/activities/search`: the cruds that hold some words.

use tracing::{field::Empty, instrument};

use super::support;
use crate::{
    api::{ApiError, Invalid, List, Reply, Request, Route, search_json},
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
    let list = List { route: ROUTE.path, of: &words.join(" "), query: &["limit", "term"] };
    let found = search(app, &words, &list.page(&request)?).await?;
    let cruds: Vec<_> = found.entries.iter().map(search_json).collect();
    support::listed(&request, &list, found.next.as_deref(), &cruds)
}

#[instrument(name = "search-activities", skip_all, fields(app.result_length = Empty))]
async fn search(
    app: &App,
    words: &[String],
    page: &PageRequest,
) -> Result<Listed<Excerpt>, ApiError> {
    let found = feeds::search(app.table().await?, words, page, app.now()).await?;
    Ok(support::counted(found))
}
