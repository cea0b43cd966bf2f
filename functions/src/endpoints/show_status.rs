//! `GET /api/activities/{key}/status/{uuid}`: a text of a user with the replies to it, as later pages
//! ask for it.

use serde::Serialize;
use serde_json::Value;
use tracing::{Span, field::Empty, info, instrument};
use uuid::Uuid;

use crate::{
    domain::{Handle, People},
    http::{
        ApiError, EncodeError, Missing, PAGED, PagedList, PathKey, Request, Response, Route,
        entry_json, parse_uuid,
    },
    runtime::App,
    store::{
        PageRequest,
        threads::{self, ThreadView},
        users,
    },
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/activities/{key}/status/{uuid}").public();

#[derive(Serialize)]
struct StatusJson {
    activity: Value,
    replies: Value,
}

/// The activity or reply in its full shape, and a page of the replies to it. `key` is the author's
/// `@handle`; the text of another user is not found.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let missing = || ApiError::NotFound(Missing::Activity);
    let PathKey::Handle(author) = PathKey::of(&request, Missing::Activity)? else {
        return Err(missing());
    };
    let uuid = parse_uuid(&request.path_parameter("uuid")).ok_or_else(missing)?;
    let of = uuid.to_string();
    let list = PagedList { route: ROUTE.path, of: &of, query: PAGED };
    let (shown, people) = show(app, &author, uuid, &list.page(&request)?).await?;
    let mut activity =
        serde_json::to_value(entry_json(&shown.tree, &people)).map_err(EncodeError::from)?;
    let replies = activity["replies"].take();
    activity["replies"] = Value::Array(Vec::new());
    info!(activity.uuid = %uuid, "Serving a status");
    let reply = Response::ok(&StatusJson { activity, replies })?;
    Ok(list.link(reply, &request, shown.next.as_deref()))
}

#[instrument(name = "show-status", skip_all, fields(app.activity_uuid = %uuid, app.result_length = Empty))]
async fn show(
    app: &App,
    author: &Handle,
    uuid: Uuid,
    page: &PageRequest,
) -> Result<(ThreadView, People), ApiError> {
    let (table, now) = (app.table().await?, app.now());
    let missing = || ApiError::NotFound(Missing::Activity);
    let author = users::by_handle(table, author, now).await?.ok_or_else(missing)?;
    let shown = threads::show(table, uuid, page, now).await?.ok_or_else(missing)?;
    if shown.tree.author() != author.key {
        return Err(missing());
    }
    Span::current().record("app.result_length", 1);
    let people = users::people(table, shown.tree.authors(), now).await?;
    Ok((shown, people))
}
