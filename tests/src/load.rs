//! A function that sends spans whose ids the test knows: the near end of every count.
//!
//! It replies first and then posts, as ours does: plain requests, then one with the SERVER span
//! that ends the invocation, then its Next.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::event::{Event, raw_event};
use crate::honeycomb::POISON;
use crate::http_client::{get, post};
use crate::otlp::kind;
use crate::record::Record;
use crate::sandbox::Program;

/// What one invocation sends: `requests` of `spans` each over `clients` connections, and the
/// SERVER span.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Requests before the last one.
    pub requests: usize,
    /// Spans in each of them.
    pub spans: usize,
    /// Encoded length of each of them.
    pub span_bytes: usize,
    /// Number of connections that post them at once.
    pub clients: usize,
    /// Whether the function replies (first), and posts the SERVER span (last). Otherwise it hangs.
    pub replies: bool,
    /// Whether Honeycomb will refuse the first request for one of its spans ([`POISON`]).
    pub poisoned: bool,
}

/// Of a span with twelve attributes.
const SPAN_BYTES: usize = 559;

/// Of a span without attributes, and of an attribute.
const BARE_SPAN_BYTES: usize = 79;
const ATTRIBUTE_BYTES: usize = 40;

impl Burst {
    /// Twelve spans in four requests, and the SERVER span.
    pub const SMALL: Burst = Burst {
        requests: 4,
        spans: 3,
        span_bytes: SPAN_BYTES,
        clients: 1,
        replies: true,
        poisoned: false,
    };

    /// The event that makes the function do so.
    pub fn event(self) -> Event {
        let Burst { requests, spans, span_bytes, clients, replies, poisoned } = self;
        raw_event(json!({
            "requests": requests, "spans": spans, "span_bytes": span_bytes, "clients": clients,
            "replies": replies, "poisoned": poisoned,
        }))
    }

    fn of(event: &Value) -> Burst {
        let number =
            |name: &str| event[name].as_u64().and_then(|number| usize::try_from(number).ok());
        Burst {
            requests: number("requests").unwrap_or(0),
            spans: number("spans").unwrap_or(0),
            span_bytes: number("span_bytes").unwrap_or(SPAN_BYTES),
            clients: number("clients").unwrap_or(1),
            replies: event["replies"] != false,
            poisoned: event["poisoned"] == true,
        }
    }
}

/// One request to the extension.
#[derive(Clone, Debug)]
pub struct Posted {
    /// 16 hex digits each.
    pub span_ids: Vec<String>,
    /// What the extension answered; `None` if nothing.
    pub status: Option<u16>,
    /// When it was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub took: Duration,
}

/// Everything that was posted, by all processes of the function. Clones share it.
#[derive(Clone, Default)]
pub struct Load(Record<Posted>);

impl Load {
    /// The function.
    pub fn function(&self) -> Program {
        self.function_that_begins_with(0)
    }

    /// The same, but each of its processes posts so many spans before its first Next.
    pub fn function_that_begins_with(&self, spans: usize) -> Program {
        let load = self.clone();
        Program::task(move |variables| {
            let load = load.clone();
            async move {
                let sender = Sender::new(&variables["OTEL_EXPORTER_OTLP_ENDPOINT"], load.0.clone());
                // Lambda starts a function when its extensions have registered: they may not
                // listen yet.
                while spans > 0 && load.sent().is_empty() {
                    sender.post(Trace::new().request(spans, None)).await;
                }
                let api = &variables["AWS_LAMBDA_RUNTIME_API"];
                run(&format!("http://{api}/2018-06-01/runtime"), sender).await;
            }
        })
    }

    /// Every request so far.
    pub fn all(&self) -> Vec<Posted> {
        self.0.all()
    }

    /// Ids of the spans that the extension has taken: it said 200.
    pub fn sent(&self) -> HashSet<String> {
        let taken = self.0.all().into_iter().filter(|posted| posted.status == Some(200));
        taken.flat_map(|posted| posted.span_ids).collect()
    }

    /// Waits until the extension has taken so many requests.
    pub async fn requests_reach(&self, count: usize) {
        let enough = |all: &[Posted]| {
            (all.iter().filter(|posted| posted.status == Some(200)).count() >= count).then_some(())
        };
        self.0.find(enough).await.expect("requests that the extension takes");
    }

    /// Requests that the extension did not take.
    pub fn not_taken(&self) -> usize {
        self.0.all().iter().filter(|posted| posted.status != Some(200)).count()
    }
}

async fn run(runtime: &str, sender: Sender) {
    loop {
        let event = get(&format!("{runtime}/invocation/next"), &[]).await.expect("an event");
        let id = event.header("lambda-runtime-aws-request-id").expect("an id").to_owned();
        let burst = Burst::of(&event.json());
        if burst.replies {
            let reply = json!({ "statusCode": 200 }).to_string();
            let url = format!("{runtime}/invocation/{id}/response");
            post(&url, &[], reply).await.expect("an answer to the response");
        }
        let trace = Trace::new();
        let mut clients = JoinSet::new();
        for client in 0..burst.clients {
            let numbers = (client..burst.requests).step_by(burst.clients);
            // All at hand before the first is sent: making them is not what is measured.
            let requests: Vec<_> = numbers
                .map(|number| match burst.poisoned && number == 0 {
                    true => trace.poisoned_request(burst.spans),
                    false => request(trace.children(burst.spans, burst.span_bytes)),
                })
                .collect();
            let sender = sender.clone();
            clients.spawn(async move {
                for request in requests {
                    sender.post(request).await;
                }
            });
        }
        clients.join_all().await;
        if !burst.replies {
            std::future::pending::<()>().await;
        }
        sender.post(trace.request(0, Some(&id))).await;
    }
}

#[derive(Clone)]
struct Sender {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    record: Record<Posted>,
}

impl Sender {
    fn new(endpoint: &str, record: Record<Posted>) -> Sender {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Sender { url: format!("{endpoint}/v1/traces"), client, record }
    }

    async fn post(&self, (span_ids, body): (Vec<String>, Vec<u8>)) {
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::from(body))
            .expect("a well-formed request");
        let sent = Instant::now();
        let status = match self.client.request(request).await {
            Ok(reply) => {
                let status = reply.status().as_u16();
                // Read to the end, so that the connection can be used again.
                reply.into_body().collect().await.ok().map(|_| status)
            }
            Err(_) => None,
        };
        self.record.push(Posted { span_ids, status, sent, took: sent.elapsed() });
    }
}

/// The spans of one invocation.
#[derive(Clone, Debug)]
pub struct Trace {
    id: Vec<u8>,
    server: Vec<u8>,
    /// Nanoseconds since the epoch.
    started: u64,
}

impl Trace {
    /// A new one.
    #[allow(clippy::new_without_default)] // it would be random
    pub fn new() -> Trace {
        let id = uuid::Uuid::new_v4().as_bytes().to_vec();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Trace { id, server: new_span_id(), started: now.as_nanos() as u64 }
    }

    /// An export request of so many children and, with an invocation's id, its SERVER span; and
    /// their span ids. A span is named by its id.
    pub fn request(&self, children: usize, invocation: Option<&str>) -> (Vec<String>, Vec<u8>) {
        let mut spans = self.children(children, SPAN_BYTES);
        spans.extend(invocation.map(|invocation| self.server(invocation)));
        request(spans)
    }

    /// The same, but one of the spans is called [`POISON`].
    fn poisoned_request(&self, children: usize) -> (Vec<String>, Vec<u8>) {
        let mut spans = self.children(children, SPAN_BYTES);
        spans[0].name = POISON.to_owned();
        request(spans)
    }

    fn server(&self, invocation: &str) -> Span {
        Span {
            kind: kind::SERVER,
            parent_span_id: Vec::new(),
            attributes: vec![
                text("faas.invocation_id", invocation),
                // Marks the last span of the invocation, as our SDK does.
                text("cruddur.xray_header", ""),
            ],
            ..self.span(self.server.clone())
        }
    }

    fn children(&self, count: usize, bytes: usize) -> Vec<Span> {
        (0..count).map(|_| self.child(bytes)).collect()
    }

    /// A span of so many bytes, of 119 or more: its last attribute is longer than the others.
    fn child(&self, bytes: usize) -> Span {
        let of_attributes = bytes - BARE_SPAN_BYTES;
        let (count, rest) = (of_attributes / ATTRIBUTE_BYTES, of_attributes % ATTRIBUTE_BYTES);
        let attributes = (0..count).map(|number| {
            let random = uuid::Uuid::new_v4().simple().to_string().repeat(2);
            let length = if number + 1 == count { 16 + rest } else { 16 };
            text(&format!("app.attribute.{number:02}"), &random[..length])
        });
        Span { attributes: attributes.collect(), ..self.span(new_span_id()) }
    }

    fn span(&self, id: Vec<u8>) -> Span {
        Span {
            trace_id: self.id.clone(),
            parent_span_id: self.server.clone(),
            name: hex(&id),
            span_id: id,
            kind: kind::INTERNAL,
            start_time_unix_nano: self.started,
            end_time_unix_nano: self.started + 1_000_000,
            ..Span::default()
        }
    }
}

fn request(spans: Vec<Span>) -> (Vec<String>, Vec<u8>) {
    let ids = spans.iter().map(|span| hex(&span.span_id)).collect();
    let resource = Resource { attributes: vec![text("service.name", "load")], ..<_>::default() };
    let scope = ScopeSpans { spans, ..ScopeSpans::default() };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    };
    (ids, request.encode_to_vec())
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_span_id() -> Vec<u8> {
    uuid::Uuid::new_v4().as_bytes()[..8].to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
