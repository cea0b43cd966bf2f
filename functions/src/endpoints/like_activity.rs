//! `PUT` and `DELETE /api/activities/{key}/like`: like an activity or a reply, or no longer.

use serde::Serialize;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared;
use crate::{
    domain::Identity,
    http::{ApiError, Missing, PathKey, Request, Response, Route, identity},
    runtime::App,
    store::likes,
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["PUT", "DELETE"], "/api/activities/{key}/like");

#[derive(Serialize)]
struct LikeJson {
    uuid: Uuid,
    liked: bool,
    likes_count: u64,
}

/// Whether the caller likes it now, and how many do. Asking again changes nothing.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let uuid = PathKey::uuid(&request, Missing::Activity)?;
    let liked = request.method() == http::Method::PUT;
    let likes_count = set_like(app, &identity, uuid, liked).await?;
    info!(activity.uuid = %uuid, liked, "Noted a like");
    Ok(Response::ok(&LikeJson { uuid, liked, likes_count })?)
}

#[instrument(name = "like-activity", skip_all, fields(app.activity_uuid = %uuid, app.liked = liked, app.likes_count = Empty))]
async fn set_like(
    app: &App,
    identity: &Identity,
    uuid: Uuid,
    liked: bool,
) -> Result<u64, ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let entry = shared::find_entry(table, uuid, now).await?;
    let user = shared::ensure_author(table, identity, now).await?;
    if !likes::set_liked(table, &entry, &user.key, liked, now).await? {
        return Err(ApiError::NotFound(Missing::Activity));
    }
    let likes = shared::find_entry(table, uuid, now).await?.counters().likes;
    Span::current().record("app.likes_count", likes as i64);
    Ok(likes)
}
