//! `POST /api/activities`: publish a crud.

use serde::Deserialize;
use serde_json::Value;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::support::{self, MAX_MESSAGE_BODY, Once};
use crate::{
    api::{self, ApiError, Invalid, Reply, Request, Route, identity, thread_json},
    app::App,
    domain::{Activity, Counters, Identity, MessageText, Thread, Ttl},
    store::activities,
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["POST"], path: "/api/activities" };

/// What the page sends. A field of another type is as good as none.
#[derive(Deserialize)]
struct Body {
    message: Option<Value>,
    ttl: Option<Value>,
}

/// A crud that is not written yet.
struct NewCrud {
    message: MessageText,
    ttl: Ttl,
}

/// The new crud in its full shape.
pub async fn handle(app: &App, request: Request) -> Result<Reply, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let new = parse(&request)?;
    let once = Once::of(&request, &ROUTE, &identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    once.run(table, now, async || publish(app, &identity, new, &once).await).await
}

fn parse(request: &Request) -> Result<NewCrud, ApiError> {
    let body: Body = request.json(MAX_MESSAGE_BODY)?;
    let text = |field: &Option<Value>| {
        field.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    // In the order in which the original lets one error win over another.
    let message = api::message(MessageText::parse(&text(&body.message)))?;
    let ttl = Ttl::parse(&text(&body.ttl)).ok_or(Invalid::TtlBlank)?;
    Ok(NewCrud { message, ttl })
}

#[instrument(name = "create-activity", skip_all, fields(app.activity_uuid = Empty))]
async fn publish(
    app: &App,
    identity: &Identity,
    new: NewCrud,
    once: &Once,
) -> Result<Reply, ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let author = support::author(table, identity, now).await?;
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
    let reply = Reply::ok(&thread_json(&thread))?;
    activities::publish(table, &thread.activity, once.answered(&reply, now)?, now).await?;
    info!(activity.uuid = %thread.activity.uuid, "Published a crud");
    Ok(reply)
}
