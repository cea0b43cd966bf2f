//! Helpers that several endpoints share.

use jiff::Timestamp;
use serde::Serialize;
use tracing::{Span, info};
use uuid::Uuid;

use crate::{
    domain::{Entry, Identity, People, User, UserKey},
    http::{ApiError, Invalid, Missing, PagedList, Request, Response, Route},
    runtime::App,
    store::{
        PageOf, Table, Write,
        idempotency::{IdempotentRequest, Lookup},
        quota, threads, users,
    },
};

/// Most bytes of a body with a message: the longest text, of 1024 characters, each escaped as a
/// pair of surrogates, has 12 KiB.
pub(super) const MAX_MESSAGE_BODY: usize = 32 * 1024;

/// The name of the header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest idempotency key, in bytes. A UUID has 36.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Answers with a page of a list: its entries in their shape, and a link to the next page.
pub(super) fn paged_response(
    request: &Request,
    list: &PagedList<'_>,
    next: Option<&str>,
    entries: &[impl Serialize],
) -> Result<Response, ApiError> {
    let length = entries.len();
    info!(result_length = length, "Serving {length} entries of {}", list.route);
    Ok(list.link(Response::ok(&entries)?, request, next))
}

/// Records on the current span, which must have the field, how many entries were read.
fn record_length<T>(page: PageOf<T>) -> PageOf<T> {
    Span::current().record("app.result_length", page.entries.len() as i64);
    page
}

/// The user of this identity, who is created on the first write.
pub(super) async fn ensure_author(
    table: &dyn Table,
    identity: &Identity,
    now: Timestamp,
) -> Result<User, ApiError> {
    users::get_or_create(table, identity, now).await?.ok_or(ApiError::HandleTaken)
}

/// The page with the names of the users in its entries, whom `users` lists.
pub(super) async fn with_people<T, U: IntoIterator<Item = UserKey>>(
    table: &dyn Table,
    page: PageOf<T>,
    users: impl Fn(&T) -> U,
    now: Timestamp,
) -> Result<(PageOf<T>, People), ApiError> {
    let people = page.entries.iter().flat_map(users).collect();
    let people = users::people(table, people, now).await?;
    Ok((record_length(page), people))
}

/// An activity or reply that is alive.
pub(super) async fn find_entry(
    table: &dyn Table,
    uuid: Uuid,
    now: Timestamp,
) -> Result<Entry, ApiError> {
    threads::find(table, uuid, now).await?.ok_or(ApiError::NotFound(Missing::Activity))
}

/// Counts a write in the user's quota, if there is one. Fails if the quota is exceeded.
pub(super) async fn spend_quota(
    app: &App,
    user: UserKey,
    kind: quota::Kind,
    now: Timestamp,
) -> Result<(), ApiError> {
    let config = app.config();
    let limit = match kind {
        quota::Kind::Texts => config.text_quota,
        quota::Kind::Others => config.other_quota,
    };
    let Some(limit) = limit else { return Ok(()) };
    match quota::spend(app.table().await?, user, kind, limit, now).await? {
        None => Ok(()),
        Some(retry_after_seconds) => Err(ApiError::QuotaExceeded { retry_after_seconds }),
    }
}

/// A request that may carry an `Idempotency-Key`, and is then done once.
pub(super) struct Idempotency(Option<IdempotentRequest>);

impl Idempotency {
    /// `about` is what the path names, in the form in which it is always written. Fails if the
    /// header is there and makes no key.
    pub(super) fn of(
        request: &Request,
        route: &Route,
        about: &str,
        user: UserKey,
    ) -> Result<Self, ApiError> {
        if !request.has_header(IDEMPOTENCY_KEY) {
            return Ok(Self(None));
        }
        let key = request.header(IDEMPOTENCY_KEY).unwrap_or_default();
        if key.trim().is_empty() || key.len() > MAX_IDEMPOTENCY_KEY {
            return Err(ApiError::InvalidIdempotencyKey);
        }
        let content = [about.as_bytes(), request.body()];
        Ok(Self(Some(IdempotentRequest::new(user, route.path, key, &content))))
    }

    /// Gives the first answer if there has been one, and else has `write` do the request. What it
    /// writes must go together with [`Idempotency::remember`].
    pub(super) async fn run(
        &self,
        table: &dyn Table,
        now: Timestamp,
        write: impl AsyncFnOnce() -> Result<Response, ApiError>,
    ) -> Result<Response, ApiError> {
        if let Some(reply) = self.earlier(table, now).await? {
            return Ok(reply);
        }
        match write().await {
            Err(ApiError::AnsweredBefore) => {
                let reply = self.earlier(table, now).await?;
                reply.ok_or(ApiError::AnsweredBefore)
            }
            outcome => outcome,
        }
    }

    /// The write that stores this answer, if the request has an idempotency key.
    pub(super) fn remember(
        &self,
        reply: &Response,
        now: Timestamp,
    ) -> Result<Option<Write>, ApiError> {
        let note = self.0.as_ref().map(|request| request.remember(reply.body(), now));
        Ok(note.transpose()?)
    }

    async fn earlier(
        &self,
        table: &dyn Table,
        now: Timestamp,
    ) -> Result<Option<Response>, ApiError> {
        let Some(request) = &self.0 else { return Ok(None) };
        match request.earlier(table, now).await? {
            Lookup::Nothing => Ok(None),
            Lookup::Answer(body) => Ok(Some(Response::replayed(body))),
            Lookup::OtherRequest => Err(Invalid::IdempotencyKeyReused.into()),
        }
    }
}
