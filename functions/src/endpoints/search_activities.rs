//! `GET /api/activities/search`: the activities that hold some words.

use tracing::{field::Empty, instrument};

use super::shared;
use crate::{
    domain::{Activity, People, search_words},
    http::{ApiError, Invalid, PagedList, Request, Response, Route, search_json},
    runtime::App,
    store::{PageOf, PageRequest, feeds, keys},
};

/// What this function answers.
pub const ROUTE: Route =
    Route::get("/api/activities/search").public().store_connections(keys::SHARDS);

/// An array of the activities that hold every word of `term`, newest first; of words, `@handle` and
/// `#tag` with at least two characters. A term without any finds nothing.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let term = request.query_parameter("term").unwrap_or_default();
    if term.trim().is_empty() {
        return Err(Invalid::SearchTermBlank.into());
    }
    let words = search_words(term);
    let list = PagedList { route: ROUTE.path, of: &words.join(" "), query: &["limit", "term"] };
    let (found, people) = search(app, &words, &list.page(&request)?).await?;
    let activities: Vec<_> =
        found.entries.iter().map(|activity| search_json(activity, &people)).collect();
    shared::paged_response(&request, &list, found.next.as_deref(), &activities)
}

#[instrument(name = "search-activities", skip_all, fields(app.result_length = Empty))]
async fn search(
    app: &App,
    words: &[String],
    page: &PageRequest,
) -> Result<(PageOf<Activity>, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let found = feeds::search(table, words, page, now).await?;
    shared::with_people(table, found, |activity| [activity.author], now).await
}
