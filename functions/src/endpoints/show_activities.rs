//! `GET /api/activities/{key}`: the activities of `@handle`, or one activity or reply by its id.

use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared;
use crate::{
    domain::{Handle, People, Thread},
    http::{
        ApiError, Missing, PAGED, PagedList, PathKey, Request, Response, Route, entry_json,
        thread_json,
    },
    runtime::App,
    store::{
        PageOf, PageRequest, feeds,
        threads::{self, ThreadView},
        users,
    },
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/activities/{key}").public();

/// For `@handle`: an array of that user's activities in their full shape, newest first; empty if the user does not
/// exist. For an id: an array of that one activity or reply in its full shape, because the page
/// expects an array. Its `replies` are a list, oldest first.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let list = |of| PagedList { route: ROUTE.path, of, query: PAGED };
    match PathKey::of(&request, Missing::Activity)? {
        PathKey::Uuid(uuid) => {
            let of = uuid.to_string();
            let replies = list(&of);
            let (shown, people) = show(app, uuid, &replies.page(&request)?).await?;
            info!(activity.uuid = %uuid, "Serving an activity");
            let reply = Response::ok(&[entry_json(&shown.tree, &people)])?;
            Ok(replies.link(reply, &request, shown.next.as_deref()))
        }
        PathKey::Handle(author) => {
            let list = list(author.as_str());
            let (feed, people) = read_feed(app, &author, &list.page(&request)?).await?;
            let activities: Vec<_> =
                feed.entries.iter().map(|thread| thread_json(thread, &people)).collect();
            shared::paged_response(&request, &list, feed.next.as_deref(), &activities)
        }
    }
}

#[instrument(name = "show-activity", skip_all, fields(app.activity_uuid = %uuid, app.result_length = Empty))]
async fn show(app: &App, uuid: Uuid, page: &PageRequest) -> Result<(ThreadView, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let shown = threads::show(table, uuid, page, now).await?;
    let shown = shown.ok_or(ApiError::NotFound(Missing::Activity))?;
    Span::current().record("app.result_length", 1);
    let people = users::people(table, shown.tree.authors(), now).await?;
    Ok((shown, people))
}

#[instrument(name = "user-activities", skip_all, fields(app.result_length = Empty))]
async fn read_feed(
    app: &App,
    author: &Handle,
    page: &PageRequest,
) -> Result<(PageOf<Thread>, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let author = users::by_handle(table, author, now).await?;
    let PageOf { entries, next } = match &author {
        Some(author) => feeds::of_user(table, author.key, page, now).await?,
        None => PageOf { entries: Vec::new(), next: None },
    };
    let feed = PageOf { entries: feeds::with_replies(table, entries, now).await?, next };
    shared::with_people(table, feed, Thread::authors, now).await
}
