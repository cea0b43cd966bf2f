//! `GET /api/users/{handle}`: a user's profile.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    domain::{Handle, User, Written},
    http::{ApiError, Missing, Request, Response, Route, path_handle, profile_json},
    runtime::App,
    store::users,
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/users/{handle}").public();

/// The user with bio and counts; the `@` before the handle may be left out.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let text = request.path_parameter("handle");
    let handle = path_handle(text.strip_prefix('@').unwrap_or(&text))?;
    let (user, written) = find(app, &handle).await?;
    info!(user.uuid = %user.key, "Serving a profile");
    Ok(Response::ok(&profile_json(&user, written))?)
}

#[instrument(name = "user-profile", skip_all, fields(app.user_uuid = Empty))]
async fn find(app: &App, handle: &Handle) -> Result<(User, Written), ApiError> {
    let found = users::profile(app.table().await?, handle, app.now()).await?;
    let (user, written) = found.ok_or(ApiError::NotFound(Missing::User))?;
    Span::current().record("app.user_uuid", user.key.to_string());
    Ok((user, written))
}
