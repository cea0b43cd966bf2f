//! A recording HTTP server on a free port, with faults on demand: the body of every fake destination.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::record::Record;

/// What a fake does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// What the real service would say.
    Proper,
    /// This, whatever the request was.
    Canned {
        /// Status line.
        status: u16,
        /// Header names and values.
        headers: Vec<(&'static str, String)>,
        /// The whole body.
        body: Bytes,
    },
    /// The other answer, so much later.
    Late(Duration, Box<Answer>),
    /// Reads the request and never answers.
    Hang,
    /// Accepts the connection and never reads from it. Decided when the connection is accepted.
    Unread,
    /// Reads a part of the body, then resets the connection.
    Reset,
    /// Does what the real service would, then resets the connection instead of saying so.
    Lost,
    /// Does what the real service would, then closes the connection in good order instead of saying so.
    Closed,
}

impl Answer {
    /// A bare status.
    pub fn status(status: u16) -> Answer {
        Answer::Canned { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// A status with JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        let headers = vec![("content-type", "application/json".to_owned())];
        Answer::Canned { status, headers, body: body.to_string().into() }
    }

    /// A refusal that says when to come again: seconds, or an HTTP date.
    pub fn retry_after(status: u16, when: &str) -> Answer {
        let headers = vec![("retry-after", when.to_owned())];
        Answer::Canned { status, headers, body: Bytes::new() }
    }

    /// What the real service would say, so much later.
    pub fn late(by: Duration) -> Answer {
        Answer::Late(by, Box::new(Answer::Proper))
    }
}

/// One request as it was on the wire, also when it was not answered well.
#[derive(Clone)]
pub struct Recorded {
    /// When its body was complete (or reset).
    pub arrived: Instant,
    /// Request line.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as sent, not decompressed.
    pub body: Bytes,
    /// What the fake was told to do with it.
    pub answer: Answer,
    /// The status it is answered with; `None` if never.
    pub status: Option<u16>,
}

impl Recorded {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The operation of an AWS request, such as `Query`; none of another request.
    pub fn operation(&self) -> Option<&str> {
        operation(&self.headers)
    }

    /// The body without its content encoding (gzip, zstd or none).
    pub fn decoded(&self) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        match self.header("content-encoding").unwrap_or("identity") {
            "identity" => decoded.extend_from_slice(&self.body),
            "gzip" => {
                flate2::read::GzDecoder::new(&*self.body).read_to_end(&mut decoded)?;
            }
            "zstd" => {
                zstd::stream::read::Decoder::new(&*self.body)?.read_to_end(&mut decoded)?;
            }
            other => return Err(io::Error::other(format!("content encoding {other}"))),
        }
        Ok(decoded)
    }
}

impl fmt::Debug for Recorded {
    /// Without the body, which is binary.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recorded { method, path, headers, body, answer, status, .. } = self;
        let bytes = body.len();
        write!(out, "{method} {path} {bytes} bytes, {answer:?}, status {status:?}, {headers:?}")
    }
}

/// What the real service would answer, if need be after asking it.
pub(crate) type Proper = Box<dyn Fn(Recorded) -> BoxFuture<'static, Answered> + Send + Sync>;

/// Status, headers and the whole body.
pub(crate) type Answered = Response<Full<Bytes>>;

/// The server. Dropping it closes everything: whoever sends then is refused.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    proper: Proper,
    script: Mutex<Script>,
    requests: Record<Recorded>,
    connections: Record<Instant>,
}

struct Script {
    /// In order; with an operation, for the next request of that operation only.
    next: VecDeque<(Option<&'static str>, Answer)>,
    always: Answer,
}

impl Fake {
    pub(crate) async fn start(proper: Proper) -> Fake {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let script = Script { next: VecDeque::new(), always: Answer::Proper };
        let shared = Arc::new(Shared {
            proper,
            script: Mutex::new(script),
            requests: Record::default(),
            connections: Record::default(),
        });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Fake { address, shared, task }
    }

    /// The next request (or connection) without an answer of its own gets this; they queue up.
    pub(crate) fn next_answer(&self, answer: Answer) {
        self.shared.script().next.push_back((None, answer));
    }

    /// The next request of this AWS operation gets this; they queue up.
    pub(crate) fn next_answer_to(&self, operation: &'static str, answer: Answer) {
        self.shared.script().next.push_back((Some(operation), answer));
    }

    /// Every request from now on, when the queue is empty.
    pub(crate) fn always(&self, answer: Answer) {
        self.shared.script().always = answer;
    }

    pub(crate) fn requests(&self) -> &Record<Recorded> {
        &self.shared.requests
    }

    pub(crate) fn connections(&self) -> &Record<Instant> {
        &self.shared.connections
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        // A test that panicked elsewhere does not make the script wrong.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection that has just come is never read.
    fn takes_unread(&self) -> bool {
        let mut script = self.script();
        match script.next.front() {
            Some((None, Answer::Unread)) => script.next.pop_front().is_some(),
            Some(_) => false,
            None => script.always == Answer::Unread,
        }
    }

    fn take_answer(&self, operation: Option<&str>) -> Answer {
        let mut script = self.script();
        let meant = script.next.iter().position(|(only, _)| only.is_none() || *only == operation);
        let answer = meant.and_then(|position| script.next.remove(position));
        answer.map_or_else(|| script.always.clone(), |(_, answer)| answer)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new(); // ends with this task
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.push(Instant::now());
        connections.spawn(serve(stream, shared.clone()));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if shared.takes_unread() {
        let _kept_open = stream;
        return std::future::pending().await;
    }
    let ended = Arc::new(Ended::default());
    let service = service_fn(|request| respond(request, shared.clone(), ended.clone()));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut connection => {}
        () = ended.reset.notified() => {
            // Without lingering, closing a socket sends RST.
            let stream = connection.into_parts().io.into_inner();
            let _ = stream.set_zero_linger();
        }
        () = ended.closed.notified() => {} // all has been read, so closing it sends FIN
    }
}

/// How a connection is to end, if not by itself.
#[derive(Default)]
struct Ended {
    reset: Notify,
    closed: Notify,
}

async fn respond(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    ended: Arc<Ended>,
) -> Result<Answered, Infallible> {
    let answer = shared.take_answer(operation(request.headers()));
    let (head, mut body) = request.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if answer == Answer::Reset {
            break;
        }
    }
    let mut recorded = Recorded {
        arrived: Instant::now(),
        method: head.method,
        path: head.uri.to_string(),
        headers: head.headers,
        body: bytes.freeze(),
        answer: answer.clone(),
        status: None,
    };
    let (delay, response) = response_of(&recorded, answer, &shared).await;
    recorded.status = response.as_ref().map(|response| response.status().as_u16());
    let answer = recorded.answer.clone();
    shared.requests.push(recorded);
    tokio::time::sleep(delay).await;
    match answer {
        Answer::Reset | Answer::Lost => ended.reset.notify_one(),
        Answer::Closed => ended.closed.notify_one(),
        _ => {}
    }
    match response {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

async fn response_of(
    recorded: &Recorded,
    answer: Answer,
    shared: &Shared,
) -> (Duration, Option<Answered>) {
    let mut delay = Duration::ZERO;
    let mut answer = answer;
    while let Answer::Late(by, later) = answer {
        delay += by;
        answer = *later;
    }
    let response = match answer {
        Answer::Proper => Some((shared.proper)(recorded.clone()).await),
        Answer::Canned { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Some(response.body(Full::new(body)).expect("a canned answer is well-formed"))
        }
        Answer::Lost | Answer::Closed => {
            (shared.proper)(recorded.clone()).await;
            None
        }
        Answer::Late(..) | Answer::Hang | Answer::Unread | Answer::Reset => None,
    };
    (delay, response)
}

fn operation(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-target")?.to_str().ok()?.rsplit('.').next()
}
