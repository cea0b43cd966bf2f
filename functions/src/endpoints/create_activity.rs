//! `POST /api/activities`: publish an activity.

use jiff::Timestamp;
use serde::Deserialize;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared::{self, Idempotency, MAX_MESSAGE_BODY};
use crate::{
    domain::{Activity, Counters, Identity, MessageText, People, Thread, Ttl},
    http::{
        ApiError, Invalid, Request, Response, Route, TextField, identity, parsed_message,
        thread_json,
    },
    runtime::App,
    store::{Table, quota::Kind, threads},
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

/// An activity that is not written yet.
struct NewActivity {
    message: MessageText,
    ttl: Ttl,
}

/// The new activity in its full shape.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let new = parse(&request)?;
    let idempotency = Idempotency::of(&request, &ROUTE, "", identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    idempotency
        .run(table, now, async || {
            shared::spend_quota(app, identity.key, Kind::Texts, now).await?;
            publish(table, &identity, new, &idempotency, now).await
        })
        .await
}

fn parse(request: &Request) -> Result<NewActivity, ApiError> {
    let body: CreateActivityBody = request.json(MAX_MESSAGE_BODY)?;
    // In the order in which the original lets one error win over another.
    let message = parsed_message(MessageText::parse(body.message.as_str()))?;
    let ttl = Ttl::parse(body.ttl.as_str()).ok_or(Invalid::TtlBlank)?;
    Ok(NewActivity { message, ttl })
}

#[instrument(name = "create-activity", skip_all, fields(app.activity_uuid = Empty))]
async fn publish(
    table: &dyn Table,
    identity: &Identity,
    new: NewActivity,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let author = shared::ensure_author(table, identity, now).await?;
    let activity = Activity {
        uuid: Uuid::new_v4(),
        author: author.key,
        message: new.message,
        created_at: now,
        expires_at: new.ttl.expires_at(now),
        counters: Counters::default(),
    };
    Span::current().record("app.activity_uuid", activity.uuid.to_string());
    let thread = Thread::new(activity, Vec::new());
    let reply = Response::ok(&thread_json(&thread, &People::new([author])))?;
    threads::publish(table, &thread.activity, idempotency.remember(&reply, now)?, now).await?;
    info!(activity.uuid = %thread.activity.uuid, "Published an activity");
    Ok(reply)
}
