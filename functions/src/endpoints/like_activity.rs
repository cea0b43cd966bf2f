//! `PUT` and `DELETE /api/activities/{key}/like`: like an activity or a reply, or no longer.

use serde::Serialize;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared;
use crate::{
    domain::{Identity, UserKey},
    http::{ApiError, Missing, PathKey, Request, Response, Route, identity, user_key},
    runtime::App,
    store::{likes, quota::Kind},
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
    let local = app.config().local.as_ref();
    let caller = match request.method() == http::Method::PUT {
        true => Caller::Likes(identity(&request, local)?),
        false => Caller::Unlikes(user_key(&request, local)?),
    };
    let liked = matches!(caller, Caller::Likes(_));
    let uuid = PathKey::uuid(&request, Missing::Activity)?;
    let likes_count = set_like(app, &caller, uuid, liked).await?;
    let message = if liked { "Liked an activity" } else { "Took back a like" };
    info!(activity.uuid = %uuid, liked, "{message}");
    Ok(Response::ok(&LikeJson { uuid, liked, likes_count })?)
}

/// A like is a write, so it may create the user. Taking one back creates nothing.
enum Caller {
    Likes(Identity),
    Unlikes(UserKey),
}

impl Caller {
    fn key(&self) -> UserKey {
        match self {
            Caller::Likes(identity) => identity.key,
            Caller::Unlikes(user) => *user,
        }
    }
}

#[instrument(name = "like-activity", skip_all, fields(app.activity_uuid = %uuid, app.liked = liked, app.likes_count = Empty))]
async fn set_like(app: &App, caller: &Caller, uuid: Uuid, liked: bool) -> Result<u64, ApiError> {
    let (table, now) = (app.table().await?, app.now());
    shared::spend_quota(app, caller.key(), Kind::Others, now).await?;
    let entry = shared::find_entry(table, uuid, now).await?;
    let user = match caller {
        Caller::Likes(identity) => shared::ensure_author(table, identity, now).await?.key,
        Caller::Unlikes(user) => *user,
    };
    if !likes::set_liked(table, &entry, user, liked, now).await? {
        return Err(ApiError::NotFound(Missing::Activity));
    }
    let likes = shared::find_entry(table, uuid, now).await?.counters().likes;
    Span::current().record("app.likes_count", likes as i64);
    Ok(likes)
}
