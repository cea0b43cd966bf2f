//! `GET /api/activities/{key}`: the activities of `@handle`, or one activity or reply by its id.

use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared;
use crate::{
    domain::{Excerpt, Handle},
    http::{
        ApiError, Missing, PAGED, PagedList, PathKey, Request, Response, Route, entry_json,
        feed_json,
    },
    runtime::App,
    store::{
        PageOf, PageRequest, feeds,
        threads::{self, ThreadView},
    },
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["GET"], "/api/activities/{key}");

/// For `@handle`: an array of that user's activities, newest first; empty if the user does not
/// exist. For an id: an array of that one activity or reply in its full shape, because the page
/// expects an array. Its `replies` are a list, oldest first.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let list = |of| PagedList { route: ROUTE.path, of, query: PAGED };
    match PathKey::of(&request, Missing::Activity)? {
        PathKey::Uuid(uuid) => {
            let of = uuid.to_string();
            let replies = list(&of);
            let shown = show(app, uuid, &replies.page(&request)?).await?;
            info!(activity.uuid = %uuid, "Serving an activity");
            let reply = Response::ok(&[entry_json(&shown.tree)])?;
            Ok(replies.link(reply, &request, shown.next.as_deref()))
        }
        PathKey::Handle(author) => {
            let list = list(author.as_str());
            let feed = read_feed(app, &author, &list.page(&request)?).await?;
            let activities: Vec<_> = feed.entries.iter().map(feed_json).collect();
            shared::paged_response(&request, &list, feed.next.as_deref(), &activities)
        }
    }
}

#[instrument(name = "show-activity", skip_all, fields(app.activity_uuid = %uuid, app.result_length = Empty))]
async fn show(app: &App, uuid: Uuid, page: &PageRequest) -> Result<ThreadView, ApiError> {
    let shown = threads::show(app.table().await?, uuid, page, app.now()).await?;
    let shown = shown.ok_or(ApiError::NotFound(Missing::Activity))?;
    Span::current().record("app.result_length", 1);
    Ok(shown)
}

#[instrument(name = "user-activities", skip_all, fields(app.result_length = Empty))]
async fn read_feed(
    app: &App,
    author: &Handle,
    page: &PageRequest,
) -> Result<PageOf<Excerpt>, ApiError> {
    let feed = feeds::of_user(app.table().await?, author, page, app.now()).await?;
    Ok(shared::record_length(feed))
}
