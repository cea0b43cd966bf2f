//! `GET /api/users/{handle}/short`: who a handle is.

use tracing::{Span, field::Empty, info, instrument};

use crate::{
    domain::{Handle, User},
    http::{ApiError, Missing, Request, Response, Route, path_handle, user_json},
    runtime::App,
    store::users,
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/users/{handle}/short").public();

/// The user in short; the `@` before the handle may be left out.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let text = request.path_parameter("handle");
    let handle = path_handle(text.strip_prefix('@').unwrap_or(&text))?;
    let user = find(app, &handle).await?;
    info!(user.uuid = %user.key, "Serving a user");
    Ok(Response::ok(&user_json(&user))?)
}

#[instrument(name = "user-short", skip_all, fields(app.user_uuid = Empty))]
async fn find(app: &App, handle: &Handle) -> Result<User, ApiError> {
    let user = users::by_handle(app.table().await?, handle, app.now()).await?;
    let user = user.ok_or(ApiError::NotFound(Missing::User))?;
    Span::current().record("app.user_uuid", user.key.to_string());
    Ok(user)
}
