//! `POST` and `PUT /api/profile/update`: how a user is called, and what they say about themselves.
//! Later pages send PUT, which the original did not know.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tracing::{Span, field::Empty, info, instrument};

use super::shared::{self, Idempotency, MAX_MESSAGE_BODY};
use crate::{
    domain::{Bio, DisplayName, Identity, TextError, User},
    http::{
        ApiError, Invalid, Request, Response, Route, TextField, identity, parsed_name, present,
        user_json,
    },
    runtime::App,
    store::{Table, users},
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["POST", "PUT"], "/api/profile/update");

/// What the page sends.
#[derive(Deserialize)]
struct UpdateProfileBody {
    #[serde(default)]
    display_name: TextField,
    #[serde(default, deserialize_with = "present")]
    bio: Option<Value>,
}

/// What is to change.
struct Profile {
    display_name: DisplayName,
    /// `None` keeps the one there is; none inside takes it away.
    bio: Option<Option<Bio>>,
}

/// The user in short. Without a `bio` theirs
/// stays as it is; an empty one, or null, takes it away.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let profile = parse(&request)?;
    let idempotency = Idempotency::of(&request, &ROUTE, "", identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    idempotency
        .run(table, now, async || update(table, &identity, profile, &idempotency, now).await)
        .await
}

fn parse(request: &Request) -> Result<Profile, ApiError> {
    let body: UpdateProfileBody = request.json(MAX_MESSAGE_BODY)?;
    let display_name = parsed_name(body.display_name.as_str())?;
    Ok(Profile { display_name, bio: body.bio.map(parse_bio).transpose()? })
}

fn parse_bio(value: Value) -> Result<Option<Bio>, Invalid> {
    let text = match &value {
        Value::Null => "",
        Value::String(text) => text.trim(),
        _ => return Err(Invalid::BioNoText),
    };
    match Bio::parse(text) {
        Ok(bio) => Ok(Some(bio)),
        Err(TextError::Blank) => Ok(None),
        Err(too_long) => Err(Invalid::BioTooLong(too_long)),
    }
}

#[instrument(name = "update-profile", skip_all, fields(app.user_uuid = Empty))]
async fn update(
    table: &dyn Table,
    identity: &Identity,
    profile: Profile,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let Profile { display_name, bio } = profile;
    let user = User { display_name, ..shared::ensure_author(table, identity, now).await? };
    Span::current().record("app.user_uuid", user.key.to_string());
    let reply = Response::ok(&user_json(&user))?;
    let answered = idempotency.remember(&reply, now)?;
    let name = &user.display_name;
    users::update_profile(table, user.key, name, bio.as_ref(), answered, now).await?;
    info!(user.uuid = %user.key, "Updated a profile");
    Ok(reply)
}
