//! `POST` and `PUT /api/profile/update`: how a user is called, and what they say about themselves.
//! Later pages send PUT, which the original did not know.

use serde::Deserialize;
use serde_json::Value;
use tracing::{Span, field::Empty, info, instrument};

use super::support::{self, MAX_MESSAGE_BODY, Once};
use crate::{
    api::{ApiError, Invalid, Reply, Request, Route, identity, user_json},
    app::App,
    domain::{Bio, DisplayName, Identity, TextError, User},
    store::users,
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["POST", "PUT"], path: "/api/profile/update" };

/// What the page sends. A field of another type is as good as none.
#[derive(Deserialize)]
struct Body {
    display_name: Option<Value>,
    bio: Option<Value>,
}

/// The user in short. What they wrote before keeps the name that it had.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let (display_name, bio) = parse(&request)?;
    let once = Once::of(&request, &ROUTE, &identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    once.run(table, now, async || update(app, &identity, display_name, bio, &once).await).await
}

fn parse(request: &Request) -> Result<(DisplayName, Option<Bio>), ApiError> {
    let body: Body = request.json(MAX_MESSAGE_BODY)?;
    let text = |field: &Option<Value>| {
        field.as_ref().and_then(Value::as_str).unwrap_or_default().trim().to_owned()
    };
    let display_name =
        DisplayName::parse(&text(&body.display_name)).map_err(|error| match error {
            TextError::Blank => Invalid::DisplayNameBlank,
            too_long => Invalid::DisplayNameTooLong(too_long),
        })?;
    let bio = match Bio::parse(&text(&body.bio)) {
        Ok(bio) => Some(bio),
        Err(TextError::Blank) => None,
        Err(too_long) => return Err(Invalid::BioTooLong(too_long).into()),
    };
    Ok((display_name, bio))
}

#[instrument(name = "update-profile", skip_all, fields(app.user_uuid = Empty))]
async fn update(
    app: &App,
    identity: &Identity,
    display_name: DisplayName,
    bio: Option<Bio>,
    once: &Once,
) -> Result<Reply, ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let user = User { display_name, bio, ..support::author(table, identity, now).await? };
    Span::current().record("app.user_uuid", user.uuid.to_string());
    let reply = Reply::ok(&user_json(&user))?;
    users::update_profile(table, &user, once.answered(&reply, now)?, now).await?;
    info!(user.uuid = %user.uuid, "Updated a profile");
    Ok(reply)
}
