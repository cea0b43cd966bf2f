//! A Honeycomb that records what arrives and decodes it from the wire.
//!
//! Answers as the real one does: 401 without the right key, 415 for another type, 400 for what does
//! not decode. <https://github.com/honeycombio/husky> is Honeycomb's own decoder.

use std::future::ready;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::{Map, Value, json};

use crate::fake::{Answer, Answered, Fake, Recorded};
use crate::loopback;
use crate::otlp::{self, Span, kind};

/// Shaped like an ingest key of an environment: `hcaik_` and 58 characters.
const KEY: &str = "hcaik_01testtesttesttesttesttesttesttesttesttesttesttesttestte00";

/// A span of this name makes it refuse the request that holds it, as if it did not decode.
pub const POISON: &str = "a span that Honeycomb refuses";

/// See the module's text. Dropping it closes the port and all connections.
pub struct Honeycomb {
    fake: Fake,
    key: Option<&'static str>,
}

impl Honeycomb {
    /// Starts one on a free port.
    pub async fn start() -> Honeycomb {
        Honeycomb::start_with(Some(KEY)).await
    }

    /// A plain OTLP receiver, which asks for no key: to be put in the extension's place.
    pub async fn without_key() -> Honeycomb {
        Honeycomb::start_with(None).await
    }

    async fn start_with(key: Option<&'static str>) -> Honeycomb {
        let proper = move |request: Recorded| ready(answer(&request, key)).boxed();
        Honeycomb { fake: Fake::start(Box::new(proper)).await, key }
    }

    /// An address where nobody listens, and nobody will: a port that was free once would not do.
    pub fn refused() -> String {
        format!("http://{}:9", loopback::own_address())
    }

    /// The base address, as in `HONEYCOMB_API_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.fake.address)
    }

    /// The only key that it takes.
    pub fn key(&self) -> &str {
        self.key.unwrap_or_default()
    }

    /// Every request from now on is answered so, when no single answers are queued.
    pub fn always(&self, answer: Answer) {
        self.fake.always(answer);
    }

    /// One request is answered so; several calls queue up.
    pub fn next_answer(&self, answer: Answer) {
        self.fake.next_answer(answer);
    }

    /// All requests, also those that were refused or never answered.
    pub fn requests(&self) -> Vec<Recorded> {
        self.fake.requests().all()
    }

    /// Waits until so many requests have come; panics if they do not.
    pub async fn requests_reach(&self, count: usize) -> Vec<Recorded> {
        let enough = |all: &[Recorded]| (all.len() >= count).then(|| all.to_vec());
        let found = self.fake.requests().find(enough).await;
        found.unwrap_or_else(|| panic!("not {count} requests, but {:#?}", self.requests()))
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.fake.connections().all().len()
    }

    /// Waits until so many connections have come; panics if they do not.
    pub async fn connections_reach(&self, count: usize) {
        let enough = |all: &[_]| (all.len() >= count).then_some(());
        self.fake.connections().find(enough).await.expect("enough connections");
    }

    /// All spans that were taken (answered 200), in the order of arrival.
    pub fn spans(&self) -> Vec<Span> {
        taken(&self.requests())
    }

    /// The spans of one trace.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect()
    }

    /// Waits for a request with this text in a log record of this trace.
    pub async fn log_line(&self, text: &str, trace_id: &str) {
        let trace_id = u128::from_str_radix(trace_id, 16).expect("32 hex digits");
        let wanted = [text.as_bytes(), &trace_id.to_be_bytes()];
        let find = |all: &[Recorded]| {
            let taken = |it: &&Recorded| it.status == Some(200) && it.path == "/v1/logs";
            let bodies = all.iter().filter(taken).filter_map(|request| request.decoded().ok());
            let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|it| it == part);
            bodies.into_iter().find(|body| wanted.iter().all(|part| holds(body, part)))
        };
        let found = self.fake.requests().find(find).await;
        assert!(
            found.is_some(),
            "{text:?} of {trace_id:032x} did not arrive: {:#?}",
            self.requests()
        );
    }

    /// Waits for the first span of this name.
    pub async fn span(&self, name: &str) -> Span {
        self.span_where(name, |span| span.name == name).await
    }

    /// Waits for the server span of an invocation.
    pub async fn server_span(&self, request_id: &str) -> Span {
        let what = format!("the server span of {request_id}");
        self.span_where(&what, |span| {
            span.kind == kind::SERVER && span.attribute("faas.invocation_id") == request_id
        })
        .await
    }

    /// Waits for the first span like this; panics with what came instead.
    pub async fn span_where(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        let find = |all: &[Recorded]| taken(all).into_iter().find(|span| wanted(span));
        let found = self.fake.requests().find(find).await;
        found.unwrap_or_else(|| {
            let names: Vec<String> = self.spans().into_iter().map(|span| span.name).collect();
            panic!("{what} did not arrive; spans {names:?}, requests {:#?}", self.requests())
        })
    }
}

/// An answer that takes all but so many spans.
pub fn partial_success(rejected_spans: i64, error_message: &str) -> Answer {
    let body = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: error_message.to_owned(),
        }),
    };
    let headers = vec![("content-type", "application/x-protobuf".to_owned())];
    Answer::Canned { status: 200, headers, body: body.encode_to_vec().into() }
}

/// <https://api-docs.honeycomb.io/api/auth>
fn whose_key(key: Option<&str>) -> Answered {
    let (status, body) = match key {
        Some(_) => (200, auth("ingest", &[])),
        None => (401, json!({ "error": "unknown API key - check your credentials" })),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(body.to_string().into()))
        .expect("a well-formed answer")
}

/// What `/1/auth` says of a good key of this type, with these permissions and no others.
pub fn auth(key_type: &str, permissions: &[&str]) -> Value {
    let all = ["events", "markers", "boards", "queries", "columns", "createDatasets"];
    let access = all.iter().map(|name| ((*name).to_owned(), permissions.contains(name).into()));
    json!({
        "id": "hcaik_01test", "type": key_type,
        "api_key_access": access.collect::<Map<String, Value>>(),
        "environment": { "name": "Production", "slug": "production" },
        "team": { "name": "Cruddur", "slug": "cruddur" },
    })
}

fn taken(requests: &[Recorded]) -> Vec<Span> {
    let good = requests.iter().filter(|request| request.status == Some(200));
    good.flat_map(|request| spans_of(request).unwrap_or_default()).collect()
}

/// None in a request of another signal; nothing if it cannot be read.
fn spans_of(request: &Recorded) -> Option<Vec<Span>> {
    if request.path != "/v1/traces" {
        return Some(Vec::new());
    }
    otlp::spans_of(&request.decoded().ok()?).ok()
}

fn answer(request: &Recorded, key: Option<&str>) -> Answered {
    if request.path == "/1/auth" {
        return whose_key(request.header("x-honeycomb-team").filter(|given| Some(*given) == key));
    }
    let types = ["application/protobuf", "application/x-protobuf"];
    let content_type = request.header("content-type").unwrap_or_default();
    // The real one takes JSON as well; nothing here sends it.
    let signals = ["/v1/traces", "/v1/logs", "/v1/metrics"];
    let (status, body) = if !signals.contains(&request.path.as_str()) {
        (404, Bytes::new())
    } else if key.is_some() && request.header("x-honeycomb-team") != key {
        (401, Bytes::from_static(b"\x12\x28unknown API key - check your credentials"))
    } else if !types.contains(&content_type) {
        (415, Bytes::new())
    } else if spans_of(request).is_none_or(|spans| spans.iter().any(|span| span.name == POISON)) {
        (400, Bytes::new())
    } else {
        (200, ExportTraceServiceResponse::default().encode_to_vec().into())
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/x-protobuf")
        .body(Full::new(body))
        .expect("a well-formed answer")
}
