//! A DynamoDB endpoint between a program and another: it records, and fails as it is told.
//!
//! What it passes on, it makes truer to the service in two points in which emulators differ: an
//! idempotency token is honoured, and a page that is as long as its limit has a cursor even if
//! nothing comes behind it.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body_util::Full;
use serde_json::{Map, Value, json};

use crate::capacity::{self, Units};
use crate::fake::{Answer, Answered, Fake, Recorded};
use crate::http_client::{self, HttpReply};
use crate::record::Record;

/// The type of all bodies, both ways.
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
const REQUEST_ID: &str = "x-amzn-requestid";

/// Key attributes of the table and of its index, as `cruddur::store::engines::dynamodb` has them.
const TABLE_KEY: [&str; 2] = ["pk", "sk"];
const INDEX_KEY: [&str; 2] = ["listing_pk", "listing_sk"];

/// The error that a request gets instead of being passed on, by its operation and body.
type Refusal = Box<dyn Fn(&str, &Value) -> Option<(u16, Bytes)> + Send>;

/// See the module's text. Dropping it closes the port and all connections.
pub struct Proxy {
    fake: Fake,
    units: Record<Units>,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

impl Proxy {
    /// Starts one on a free port, before the endpoint at `upstream`.
    pub async fn start(upstream: &str) -> Proxy {
        let units = Record::default();
        let refusal: Arc<Mutex<Option<Refusal>>> = Arc::default();
        let upstream = Arc::new(Upstream {
            url: upstream.to_owned(),
            done: Mutex::default(),
            units: units.clone(),
            refusal: refusal.clone(),
        });
        let proper = move |request: Recorded| {
            let upstream = upstream.clone();
            async move { upstream.answer(&request).await }.boxed()
        };
        Proxy { fake: Fake::start(Box::new(proper)).await, units, refusal }
    }

    /// The base address, as in `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> String {
        format!("http://{}", self.fake.address)
    }

    /// The next request of this operation is answered so; several calls queue up.
    pub fn next_answer(&self, operation: &'static str, answer: Answer) {
        self.fake.next_answer_to(operation, answer);
    }

    /// Every request from now on is answered so, when no single answers are queued.
    pub fn always(&self, answer: Answer) {
        self.fake.always(answer);
    }

    /// From now on `answer` sees the operation and the body of each request that would be passed on.
    /// A canned answer replaces the endpoint's; with any other, the request is passed on.
    pub fn refuse(&self, answer: impl Fn(&str, &Value) -> Answer + Send + 'static) {
        let refusal: Refusal = Box::new(move |operation, body| match answer(operation, body) {
            Answer::Canned { status, body, .. } => Some((status, body)),
            _ => None,
        });
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// All requests so far, however they were answered.
    pub fn requests(&self) -> Vec<Recorded> {
        self.fake.requests().all()
    }

    /// How many connections have been made to it so far.
    pub fn connections(&self) -> usize {
        self.fake.connections().all().len()
    }

    /// What DynamoDB would have charged for each request that was passed on.
    pub fn consumed(&self) -> Vec<Units> {
        self.units.all()
    }

    /// The bodies of all requests of an operation.
    pub fn bodies(&self, operation: &str) -> Vec<Value> {
        let requests = self.requests();
        let of_operation = requests.iter().filter(|one| one.operation() == Some(operation));
        of_operation.map(|request| parse(&request.body)).collect()
    }
}

/// An error as DynamoDB words it, such as `(400, "ThrottlingException")`.
pub fn error(status: u16, code: &str) -> Answer {
    canned(status, code, Map::new())
}

/// A cancelled transaction: a code for each of its writes, `None` for those that were fine.
pub fn cancelled(codes: &[&str]) -> Answer {
    let reasons: Vec<Value> = codes
        .iter()
        .map(|code| json!({"Code": code, "Message": format!("{code} (canned)")}))
        .collect();
    let reasons = Map::from_iter([("CancellationReasons".to_owned(), reasons.into())]);
    canned(400, "TransactionCanceledException", reasons)
}

fn canned(status: u16, code: &str, mut body: Map<String, Value>) -> Answer {
    let code = format!("com.amazonaws.dynamodb.v20120810#{code}");
    body.insert("__type".to_owned(), code.into());
    body.insert("message".to_owned(), "said by the proxy".into());
    let headers = vec![("content-type", CONTENT_TYPE.to_owned())];
    Answer::Canned { status, headers, body: Value::Object(body).to_string().into() }
}

struct Upstream {
    url: String,
    /// Transactions that were done, by token: the request that did it. As JSON, since the order of
    /// an item's attributes means nothing.
    done: Mutex<HashMap<String, Value>>,
    units: Record<Units>,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

impl Upstream {
    async fn answer(&self, request: &Recorded) -> Answered {
        let asked = parse(&request.body);
        let token = asked["ClientRequestToken"].as_str().map(str::to_owned);
        if let Some(repeated) = token.as_ref().and_then(|token| self.repeated(token, &asked)) {
            return repeated;
        }
        if let Some((status, body)) = self.refused(request.operation().unwrap_or_default(), &asked)
        {
            return response(status, body);
        }
        let reply = match self.pass_on(request).await {
            Ok(reply) => reply,
            Err(problem) => return response(502, problem.to_string().into()),
        };
        let operation = request.operation().unwrap_or_default();
        self.units.push(capacity::units(operation, &asked, &parse(&reply.body)));
        let body = match request.operation() {
            Some("Query") => with_last_cursor(&asked, reply.body),
            _ => reply.body,
        };
        if reply.status == 200
            && let Some(token) = token
        {
            self.done().insert(token, asked);
        }
        let mut response = response(reply.status.as_u16(), body);
        if let Some(id) = reply.headers.get(REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response
    }

    fn refused(&self, operation: &str, asked: &Value) -> Option<(u16, Bytes)> {
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.as_ref().and_then(|refusal| refusal(operation, asked))
    }

    async fn pass_on(&self, request: &Recorded) -> std::io::Result<HttpReply> {
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .filter(|(name, _)| *name != "content-length" && *name != "connection")
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let url = format!("{}{}", self.url, request.path);
        http_client::send(request.method.clone(), &url, &headers, request.body.clone()).await
    }

    /// What a token that was used before is answered with.
    fn repeated(&self, token: &str, asked: &Value) -> Option<Answered> {
        let same = self.done().get(token)? == asked;
        Some(match same {
            true => response(200, "{}".into()),
            false => {
                let code = "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException";
                response(400, json!({"__type": code}).to_string().into())
            }
        })
    }

    fn done(&self) -> std::sync::MutexGuard<'_, HashMap<String, Value>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_last_cursor(request: &Value, body: Bytes) -> Bytes {
    let mut page = parse(&body);
    let is_full = request["Limit"].is_u64() && page["ScannedCount"] == request["Limit"];
    let last = page["Items"].as_array().and_then(|items| items.last());
    let Some(last) = last.filter(|_| is_full && page["LastEvaluatedKey"].is_null()) else {
        return body;
    };
    let index_key = INDEX_KEY.iter().filter(|_| !request["IndexName"].is_null());
    let names = TABLE_KEY.iter().chain(index_key);
    page["LastEvaluatedKey"] =
        names.map(|name| ((*name).to_owned(), last[*name].clone())).collect();
    page.to_string().into()
}

fn response(status: u16, body: Bytes) -> Answered {
    Response::builder()
        .status(status)
        .header("content-type", CONTENT_TYPE)
        .body(Full::new(body))
        .expect("a well-formed answer")
}

fn parse(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}
