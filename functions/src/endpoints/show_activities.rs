//! `GET /api/activities/{key}`: the cruds of `@handle`, or one crud or reply by its id.

use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use crate::{
    api::{
        ApiError, Missing, PathKey, Reply, Request, Route, feed_json, page_request, post_json,
        with_next,
    },
    app::App,
    domain::{Excerpt, Handle, PostTree},
    store::{Listed, PageRequest, activities, feeds},
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/activities/{key}" };

/// For `@handle` an array of that user's cruds, newest first; none for a user who has not written.
/// For an id an array of that one crud or reply in its full shape: every page expects an array.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    match PathKey::of(&request, Missing::Activity)? {
        PathKey::Uuid(uuid) => {
            let post = show(app, uuid).await?;
            info!(activity.uuid = %uuid, "Serving an activity");
            Reply::ok(&[post_json(&post)])
        }
        PathKey::Handle(author) => {
            let list = [ROUTE.path, author.as_str()];
            let page = page_request(&request, &list)?;
            let feed = read_feed(app, &author, &page).await?;
            let length = feed.entries.len();
            info!(result_length = length, "Serving a user's feed with {length} cruds");
            let reply = Reply::ok(&feed.entries.iter().map(feed_json).collect::<Vec<_>>())?;
            Ok(with_next(reply, &request, &list, feed.next.as_deref()))
        }
    }
}

#[instrument(name = "show-activity", skip_all, fields(app.activity_uuid = %uuid, app.result_length = Empty))]
async fn show(app: &App, uuid: Uuid) -> Result<PostTree, ApiError> {
    let shown = activities::show(app.table().await?, uuid, app.now()).await?;
    let shown = shown.ok_or(ApiError::NotFound(Missing::Activity))?;
    Span::current().record("app.result_length", 1);
    Ok(shown)
}

#[instrument(name = "user-activities", skip_all, fields(app.result_length = Empty))]
async fn read_feed(
    app: &App,
    author: &Handle,
    page: &PageRequest,
) -> Result<Listed<Excerpt>, ApiError> {
    let feed = feeds::of_user(app.table().await?, author, page, app.now()).await?;
    Span::current().record("app.result_length", feed.entries.len() as i64);
    Ok(feed)
}
