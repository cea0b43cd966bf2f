//! An X-Ray that records documents: PutTraceSegments over HTTP, and the daemon's datagrams.
//! <https://docs.aws.amazon.com/xray/latest/api/API_PutTraceSegments.html>

use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::fake::{Answer, Answered, Fake, Recorded};
use crate::record::Record;

/// A span of this name makes a document that is not processed.
pub const UNPROCESSED: &str = "a span that X-Ray does not process";

/// A span of this name makes X-Ray refuse the whole call.
pub const POISON: &str = "a span that X-Ray refuses";

/// Most documents of a call.
const MAX_DOCUMENTS: usize = 50;

/// See the module's text. Dropping it closes the port and all connections.
pub struct Xray(Fake);

impl Xray {
    /// Starts one on a free port.
    pub async fn start() -> Xray {
        let proper = |request: Recorded| ready(answer(&request)).boxed();
        Xray(Fake::start(Box::new(proper)).await)
    }

    /// As in `AWS_ENDPOINT_URL_XRAY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// One call is answered so; several calls of this queue up.
    pub fn next_answer(&self, answer: Answer) {
        self.0.next_answer(answer);
    }

    /// All calls.
    pub fn requests(&self) -> Vec<Recorded> {
        self.0.requests().all()
    }

    /// The documents of all calls that were answered 200, also those that were not processed.
    pub fn documents(&self) -> Vec<Value> {
        taken(&self.requests())
    }

    /// Waits until so many documents have come; panics if they do not.
    pub async fn documents_reach(&self, count: usize) -> Vec<Value> {
        let enough = |all: &[Recorded]| Some(taken(all)).filter(|found| found.len() >= count);
        let found = self.0.requests().find(enough).await;
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

fn answer(request: &Recorded) -> Answered {
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
