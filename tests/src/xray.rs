//! An X-Ray that records documents and spans: PutTraceSegments and OTLP over HTTP, and the daemon's
//! datagrams. <https://docs.aws.amazon.com/xray/latest/api/API_PutTraceSegments.html>

mod otlp_endpoint;

use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::fake::{Answer, Answered, Fake, Recorded};
use crate::otlp::Span;
use crate::record::Record;
use crate::sigv4;

/// A span of this name makes a document that is not processed.
pub const UNPROCESSED: &str = "a span that X-Ray does not process";

/// A span of this name makes X-Ray refuse the whole call.
pub const POISON: &str = "a span that X-Ray refuses";

/// Most documents of a call.
const MAX_DOCUMENTS: usize = 50;

/// Dropping it closes the port and all connections.
pub struct Xray {
    fake: Fake,
    account: Arc<Mutex<Account>>,
    stored: Record<Span>,
}

/// The state of the account that calls come from.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    has_transaction_search: bool,
    denies_spans: bool,
    /// The service's clock is so many seconds before the sandbox's.
    seconds_ahead: u64,
}

impl Xray {
    /// Starts one on a free port. Transaction Search is off, and the role may send everything.
    pub async fn start() -> Xray {
        let (account, stored) = (Arc::<Mutex<Account>>::default(), Record::default());
        let (state, spans) = (account.clone(), stored.clone());
        let proper = move |request: Recorded| {
            let account = *state.lock().unwrap_or_else(PoisonError::into_inner);
            ready(answer(&request, account, &spans)).boxed()
        };
        Xray { fake: Fake::start(Box::new(proper)).await, account, stored }
    }

    /// The address of an X-Ray that is not running: its port refuses.
    pub async fn refused() -> String {
        Xray::start().await.url()
    }

    /// Status and body of the answer to this OTLP request at this time, and how many spans are stored.
    pub fn answer_to_spans(request: &[u8], now: SystemTime) -> (u16, Bytes, usize) {
        let (answer, stored) = otlp_endpoint::answer_to_body(request, now);
        let body = answer.body().clone().into_inner().unwrap_or_default();
        (answer.status().as_u16(), body, stored.len())
    }

    /// As in `AWS_ENDPOINT_URL_XRAY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.fake.address)
    }

    /// Switches Transaction Search, which OTLP needs.
    pub fn transaction_search(&self, is_on: bool) {
        self.change(|account| account.has_transaction_search = is_on);
    }

    /// The role may send segments alone.
    pub fn deny_spans(&self) {
        self.change(|account| account.denies_spans = true);
    }

    /// The service's clock is so many seconds ahead from now on.
    pub fn clock_ahead(&self, seconds: u64) {
        self.change(|account| account.seconds_ahead = seconds);
    }

    fn change(&self, change: impl FnOnce(&mut Account)) {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Every call from now on is answered so, when no single answers are queued.
    pub fn always(&self, answer: Answer) {
        self.fake.always(answer);
    }

    /// The spans that came by OTLP and were stored, also those whose answer was lost.
    pub fn spans(&self) -> Vec<Span> {
        self.stored.all()
    }

    /// Waits until so many spans are stored; panics if they are not.
    pub async fn spans_reach(&self, count: usize) -> Vec<Span> {
        let enough = |all: &[Span]| (all.len() >= count).then(|| all.to_vec());
        let found = self.stored.find(enough).await;
        found.unwrap_or_else(|| panic!("not {count} spans, but {:#?}", self.requests()))
    }

    /// The statuses of all calls of a path, such as `/v1/traces`.
    pub fn statuses(&self, path: &str) -> Vec<u16> {
        let requests = self.requests().into_iter().filter(|request| request.path == path);
        requests.filter_map(|request| request.status).collect()
    }

    /// Waits until a call of this path was answered so; panics if none is.
    pub async fn answers(&self, path: &str, status: u16) {
        let is_it = |it: &Recorded| it.path == path && it.status == Some(status);
        let found = self.fake.requests().find(|all| all.iter().find(|it| is_it(it)).cloned()).await;
        assert!(found.is_some(), "no {status} at {path}, but {:#?}", self.requests());
    }

    /// One call is answered so; several calls of this queue up.
    pub fn next_answer(&self, answer: Answer) {
        self.fake.next_answer(answer);
    }

    /// All calls.
    pub fn requests(&self) -> Vec<Recorded> {
        self.fake.requests().all()
    }

    /// The documents of all calls that were answered 200, also those that were not processed.
    pub fn documents(&self) -> Vec<Value> {
        taken(&self.requests())
    }

    /// Waits until so many documents have come; panics if they do not.
    pub async fn documents_reach(&self, count: usize) -> Vec<Value> {
        let enough = |all: &[Recorded]| Some(taken(all)).filter(|found| found.len() >= count);
        let found = self.fake.requests().find(enough).await;
        found.unwrap_or_else(|| panic!("not {count} documents, but {:#?}", self.documents()))
    }
}

fn taken(requests: &[Recorded]) -> Vec<Value> {
    let good = requests.iter().filter(|request| request.status == Some(200));
    good.flat_map(documents_of).collect()
}

fn documents_of(request: &Recorded) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let documents = body["TraceSegmentDocuments"].as_array().cloned().unwrap_or_default();
    let texts = documents.iter().filter_map(Value::as_str);
    texts.map(|text| serde_json::from_str(text).unwrap_or_default()).collect()
}

fn answer(request: &Recorded, account: Account, stored: &Record<Span>) -> Answered {
    let now = SystemTime::now() + Duration::from_secs(account.seconds_ahead);
    if let Err((code, message)) = sigv4::check(request, "xray", now) {
        return otlp_endpoint::forbidden(code, &message);
    }
    if request.path != "/v1/traces" {
        return answer_to_segments(request);
    }
    if account.denies_spans {
        let message = "User: arn:aws:sts::123456789012:assumed-role/a-role/a-function is not \
                       authorized to perform: xray:PutSpans because no identity-based policy allows it";
        return otlp_endpoint::forbidden("AccessDeniedException", message);
    }
    let (answer, spans) =
        otlp_endpoint::answer(request, account.has_transaction_search, SystemTime::now());
    spans.into_iter().for_each(|span| stored.push(span));
    answer
}

fn answer_to_segments(request: &Recorded) -> Answered {
    let documents = documents_of(request);
    // The name of a root segment is another than its span's.
    let named = |document: &Value, name| document.to_string().contains(name);
    let is_good = request.path == "/TraceSegments"
        && (1..=MAX_DOCUMENTS).contains(&documents.len())
        && !documents.iter().any(|document| document.is_null() || named(document, POISON));
    let unprocessed = documents.iter().filter(|document| named(document, UNPROCESSED));
    let unprocessed: Vec<Value> = unprocessed
        .map(|it| json!({ "Id": it["id"], "ErrorCode": "InvalidSegment", "Message": "a test" }))
        .collect();
    let (status, body) = match is_good {
        true => (200, json!({ "UnprocessedTraceSegments": unprocessed })),
        false => (400, json!({ "Message": "a test refuses this" })),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", "InvalidRequestException")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a well-formed answer")
}

/// A daemon: what comes by UDP, taken apart. Dropping it closes the port.
pub struct XrayDaemon {
    address: SocketAddr,
    datagrams: Arc<Record<String>>,
    task: AbortHandle,
}

impl XrayDaemon {
    /// Starts one on a free port.
    pub async fn start() -> XrayDaemon {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = socket.local_addr().expect("a bound address");
        let datagrams = Arc::new(Record::default());
        let record = datagrams.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length) = socket.recv(&mut buffer).await {
                record.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        XrayDaemon { address, datagrams, task: task.abort_handle() }
    }

    /// As in `AWS_XRAY_DAEMON_ADDRESS`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until so many datagrams have come; panics if they do not. Each is a line that says
    /// what follows, and a document.
    pub async fn datagrams_reach(&self, count: usize) -> Vec<(String, Value)> {
        let enough = |all: &[String]| (all.len() >= count).then(|| all.to_vec());
        let found = self.datagrams.find(enough).await.expect("enough datagrams");
        let parts = found.iter().map(|datagram| {
            let (header, json) = datagram.split_once('\n').unwrap_or((datagram, "null"));
            (header.to_owned(), serde_json::from_str(json).unwrap_or_default())
        });
        parts.collect()
    }
}

impl Drop for XrayDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}
