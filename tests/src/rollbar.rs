//! A Rollbar that records the items and deploys that it gets.
//!
//! Answers as the real one does: 401 without a token, 403 with a wrong one, 400 for what is no JSON,
//! 422 for what is no item by [`SCHEMA`], 413 for what is too large. Of two items with one `uuid`
//! it keeps the first. <https://docs.rollbar.com/reference/create-item>

use std::collections::HashSet;
use std::future::ready;

use futures_util::FutureExt;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::fake::{Answer, Answered, Fake, Recorded};

/// What an item is.
pub const SCHEMA: &str = include_str!("../schemas/rollbar_item.json");

/// The smallest limit that Rollbar ever had.
const MAX_BYTES: usize = 128 * 1024;

/// Shaped like a project's token.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Where items and deploys are posted.
const ITEMS: &str = "/api/1/item/";
const DEPLOYS: &str = "/api/1/deploy";

/// An item with this in it is refused as invalid.
pub const POISON: &str = "an item that Rollbar refuses";

/// See the module's text. Dropping it closes the port and all connections.
pub struct Rollbar(Fake);

impl Rollbar {
    /// Starts one on a free port.
    pub async fn start() -> Rollbar {
        let schema: Value = serde_json::from_str(SCHEMA).expect("a schema");
        let schema = jsonschema::validator_for(&schema).expect("a valid schema");
        let proper = move |request: Recorded| ready(answer(&request, &schema)).boxed();
        Rollbar(Fake::start(Box::new(proper)).await)
    }

    /// As in `ROLLBAR_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}{ITEMS}", self.0.address)
    }

    /// The only token that it takes.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// Every request from now on is answered so, when no single answers are queued.
    pub fn always(&self, answer: Answer) {
        self.0.always(answer);
    }

    /// One request is answered so; several calls queue up.
    pub fn next_answer(&self, answer: Answer) {
        self.0.next_answer(answer);
    }

    /// All requests, also those that were refused or never answered.
    pub fn requests(&self) -> Vec<Recorded> {
        self.0.requests().all()
    }

    /// Waits until so many requests have come; panics if they do not.
    pub async fn requests_reach(&self, count: usize) -> Vec<Recorded> {
        let enough = |all: &[Recorded]| (all.len() >= count).then(|| all.to_vec());
        let found = self.0.requests().find(enough).await;
        found.unwrap_or_else(|| panic!("not {count} requests, but {:#?}", self.requests()))
    }

    /// `data` of all items that were taken, in the order of arrival, as a project shows them.
    pub fn items(&self) -> Vec<Value> {
        taken(&self.requests())
    }

    /// All deploys that were taken.
    pub fn deploys(&self) -> Vec<Value> {
        let requests = self.requests();
        let good = requests.iter().filter(|it| it.status == Some(200) && it.path == DEPLOYS);
        good.filter_map(|request| serde_json::from_slice(&request.body).ok()).collect()
    }

    /// Waits until so many items were taken; panics with what came instead.
    pub async fn items_reach(&self, count: usize) -> Vec<Value> {
        let enough = |all: &[Recorded]| Some(taken(all)).filter(|items| items.len() >= count);
        let found = self.0.requests().find(enough).await;
        found.unwrap_or_else(|| {
            panic!("not {count} items, but {:#?} by {:#?}", self.items(), self.requests())
        })
    }
}

/// A refusal for some time, as Rollbar's rate limits have it.
pub fn limited(seconds: u64) -> Answer {
    let body = json!({ "err": 1, "message": "ip rate limit" }).to_string();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-rate-limit-limit", "5000".to_owned()),
        ("x-rate-limit-remaining", "0".to_owned()),
        ("x-rate-limit-remaining-seconds", seconds.to_string()),
    ];
    Answer::Canned { status: 429, headers, body: body.into() }
}

fn taken(requests: &[Recorded]) -> Vec<Value> {
    let mut seen = HashSet::new();
    let good = requests.iter().filter(|it| it.status == Some(200) && it.path == ITEMS);
    let items = good.filter_map(|request| {
        let item: Value = serde_json::from_slice(&request.body).ok()?;
        Some(item["data"].clone())
    });
    items.filter(|item| item["uuid"].as_str().is_none_or(|id| seen.insert(id.to_owned()))).collect()
}

fn answer(request: &Recorded, schema: &jsonschema::Validator) -> Answered {
    let item = serde_json::from_slice::<Value>(&request.body);
    let complaint = |item: &Value| schema.iter_errors(item).next().map(|it| it.to_string());
    let is_deploy = request.path == DEPLOYS;
    let (status, message) =
        if !(is_deploy || request.path == ITEMS) || request.method != Method::POST {
            (404, "not found".to_owned())
        } else {
            match (request.header("x-rollbar-access-token"), item) {
                (None, _) => (401, "no access token".to_owned()),
                (Some(token), _) if token != TOKEN => (403, "insufficient privileges".to_owned()),
                _ if request.body.len() > MAX_BYTES => (413, "request entity too large".to_owned()),
                (_, Err(error)) => (400, error.to_string()),
                (_, Ok(deploy)) if is_deploy => {
                    let is_short = |field: &str, most: usize| {
                        deploy[field].as_str().is_some_and(|it| (1..=most).contains(&it.len()))
                    };
                    match is_short("environment", 255) && is_short("revision", 40) {
                        true => return reply(200, &json!({ "data": { "deploy_id": 7 } })),
                        false => (422, "invalid deploy".to_owned()),
                    }
                }
                (_, Ok(item)) if item.to_string().contains(POISON) => (422, "poison".to_owned()),
                (_, Ok(item)) => match complaint(&item) {
                    Some(complaint) => (422, complaint),
                    None => {
                        return reply(
                            200,
                            &json!({ "err": 0, "result": {
                                "id": null, "uuid": item["data"]["uuid"],
                            }}),
                        );
                    }
                },
            }
        };
    reply(status, &json!({ "err": 1, "message": message }))
}

fn reply(status: u16, body: &Value) -> Answered {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(body.to_string().into()))
        .expect("a well-formed answer")
}
