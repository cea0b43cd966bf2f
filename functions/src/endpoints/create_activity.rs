//! `POST /api/activities`: publish a crud.

use jiff::Timestamp;
use serde::Deserialize;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared::{self, MAX_MESSAGE_BODY, Once};
use crate::{
    domain::{Activity, Counters, Identity, MessageText, Thread, Ttl},
    http::{
        ApiError, Invalid, Request, Response, Route, TextField, identity, parsed_message,
        thread_json,
    },
    runtime::App,
    store::{Table, threads},
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["POST"], "/api/activities");

/// What the page sends. A field of another type is as good as none.
#[derive(Deserialize)]
struct CreateActivityBody {
    #[serde(default)]
    message: TextField,
    #[serde(default)]
    ttl: TextField,
}

/// A crud that is not written yet.
struct NewCrud {
    message: MessageText,
    ttl: Ttl,
}

/// The new crud in its full shape.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let new = parse(&request)?;
    let once = Once::of(&request, &ROUTE, "", &identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    once.run(table, now, async || publish(table, &identity, new, &once, now).await).await
}

fn parse(request: &Request) -> Result<NewCrud, ApiError> {
    let body: CreateActivityBody = request.json(MAX_MESSAGE_BODY)?;
    // In the order in which the original lets one error win over another.
    let message = parsed_message(MessageText::parse(body.message.as_str()))?;
    let ttl = Ttl::parse(body.ttl.as_str()).ok_or(Invalid::TtlBlank)?;
    Ok(NewCrud { message, ttl })
}

#[instrument(name = "create-activity", skip_all, fields(app.activity_uuid = Empty))]
async fn publish(
    table: &dyn Table,
    identity: &Identity,
    new: NewCrud,
    once: &Once,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let author = shared::author(table, identity, now).await?;
    let crud = Activity {
        uuid: Uuid::new_v4(),
        handle: author.handle,
        display_name: Some(author.display_name),
        message: new.message,
        created_at: now,
        expires_at: new.ttl.expires_at(now),
        counters: Counters::default(),
    };
    Span::current().record("app.activity_uuid", crud.uuid.to_string());
    let thread = Thread::new(crud, Vec::new());
    let reply = Response::ok(&thread_json(&thread))?;
    threads::publish(table, &thread.activity, once.answered(&reply, now)?, now).await?;
    info!(activity.uuid = %thread.activity.uuid, "Published a crud");
    Ok(reply)
}
