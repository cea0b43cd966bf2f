//! `POST /api/activities/{key}/reply`: answer an activity or a reply.

use jiff::Timestamp;
use serde::Deserialize;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use super::shared::{self, Idempotency, MAX_MESSAGE_BODY};
use crate::{
    domain::{Counters, Identity, LongText, People, Reply, ReplyTree},
    http::{
        ApiError, Missing, PathKey, Request, Response, Route, TextField, identity, parsed_message,
        reply_json,
    },
    runtime::App,
    store::{Table, quota::Kind, threads},
};

/// What this function answers.
pub const ROUTE: Route = Route::new(&["POST"], "/api/activities/{key}/reply");

/// What the page sends. A field of another type is as good as none.
#[derive(Deserialize)]
struct ReplyActivityBody {
    #[serde(default)]
    message: TextField,
}

/// The new reply.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let identity = identity(&request, app.config().local.as_ref())?;
    let body: ReplyActivityBody = request.json(MAX_MESSAGE_BODY)?;
    let message = parsed_message(LongText::parse(body.message.as_str()))?;
    let parent = PathKey::uuid(&request, Missing::Activity)?;
    let idempotency = Idempotency::of(&request, &ROUTE, &parent.to_string(), identity.key)?;
    let (table, now) = (app.table().await?, app.now());
    idempotency
        .run(table, now, async || {
            shared::spend_quota(app, identity.key, Kind::Texts, now).await?;
            answer(table, &identity, parent, message, &idempotency, now).await
        })
        .await
}

#[instrument(name = "reply-activity", skip_all, fields(app.activity_uuid = Empty))]
async fn answer(
    table: &dyn Table,
    identity: &Identity,
    parent: Uuid,
    message: LongText,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let parent = shared::find_entry(table, parent, now).await?;
    let author = shared::ensure_author(table, identity, now).await?;
    let reply = Reply {
        uuid: Uuid::new_v4(),
        root_uuid: parent.root_uuid(),
        reply_to_activity_uuid: parent.uuid(),
        // Deeper than any feed shows, it does not matter.
        depth: parent.depth().saturating_add(1),
        author: author.key,
        message,
        created_at: now,
        expires_at: parent.expires_at(),
        counters: Counters::default(),
    };
    Span::current().record("app.activity_uuid", reply.uuid.to_string());
    let tree = ReplyTree { reply, replies: Vec::new() };
    let answer = Response::ok(&reply_json(&tree, &People::new([author])))?;
    let noted = idempotency.remember(&answer, now)?;
    if !threads::reply(table, &parent, &tree.reply, noted, now).await? {
        return Err(ApiError::NotFound(Missing::Activity));
    }
    info!(activity.uuid = %tree.reply.uuid, "Published a reply");
    Ok(answer)
}
