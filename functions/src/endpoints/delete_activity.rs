//! `DELETE /api/activities/{key}`: delete one's own activity or reply.

use serde::Serialize;
use tracing::{info, instrument};
use uuid::Uuid;

use super::shared;
use crate::{
    domain::UserKey,
    http::{ApiError, Missing, PathKey, Request, Response, Route, user_key},
    runtime::App,
    store::threads,
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["DELETE"], "/api/activities/{key}");

#[derive(Serialize)]
struct DeletedJson {
    uuid: Uuid,
    deleted: bool,
}

/// The id of the deleted text. A second request is 404. Replies to it stay, each under its own id.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let user = user_key(&request, app.config().local.as_ref())?;
    let uuid = PathKey::uuid(&request, Missing::Activity)?;
    delete(app, user, uuid).await?;
    info!(activity.uuid = %uuid, "Deleted a text");
    Ok(Response::ok(&DeletedJson { uuid, deleted: true })?)
}

#[instrument(name = "delete-activity", skip_all, fields(app.activity_uuid = %uuid))]
async fn delete(app: &App, user: UserKey, uuid: Uuid) -> Result<(), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let entry = shared::find_entry(table, uuid, now).await?;
    if entry.author() != user {
        return Err(ApiError::NotTheAuthor);
    }
    match threads::delete(table, &entry, now).await? {
        true => Ok(()),
        false => Err(ApiError::NotFound(Missing::Activity)),
    }
}
