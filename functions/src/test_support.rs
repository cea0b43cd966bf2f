//! What the tests of several modules share.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    logs::v1::ResourceLogs,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;
#[cfg(feature = "local")]
use {
    crate::{
        domain::{Activity, Counters, LongText, MessageText, Reply, UserKey},
        store::{
            self, MAX_WRITES, Table,
            codec::{self, Recipient},
        },
    },
    jiff::{SignedDuration, Timestamp},
    uuid::Uuid,
};

/// An event of payload format 2.0; a function of it, so that a test says only what it is about.
#[cfg(feature = "local")]
pub(crate) struct Event(serde_json::Value);

#[cfg(feature = "local")]
impl Event {
    /// A request without a token.
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let mut event: serde_json::Value = serde_json::from_str(HOME_EVENT).unwrap();
        event["rawPath"] = path.into();
        event["requestContext"]["http"]["method"] = method.into();
        event["requestContext"]["http"]["path"] = path.into();
        Self(event)
    }

    /// With a token of the user `handle`.
    pub(crate) fn by(self, handle: &str) -> Self {
        let claims = serde_json::json!({"sub": format!("sub of {handle}"), "username": handle});
        self.with_claims(claims)
    }

    pub(crate) fn with_claims(mut self, claims: serde_json::Value) -> Self {
        self.0["requestContext"]["authorizer"] = serde_json::json!({"jwt": {"claims": claims}});
        self
    }

    /// With the variable `key` of the path.
    pub(crate) fn key(self, key: &str) -> Self {
        self.path_parameter("key", key)
    }

    pub(crate) fn path_parameter(mut self, name: &str, value: &str) -> Self {
        self.0["pathParameters"] = serde_json::json!({name: value});
        self
    }

    pub(crate) fn query(mut self, query: &str) -> Self {
        self.0["rawQueryString"] = query.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.0["headers"][name] = value.into();
        self
    }

    /// With a JSON body.
    pub(crate) fn json(self, body: serde_json::Value) -> Self {
        self.body(&body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.0["body"] = body.into();
        self
    }

    pub(crate) fn request(&self) -> crate::http::Request {
        crate::http::Request::from_event(&self.0.to_string()).unwrap()
    }
}

/// The sample event of the home feed.
pub(crate) const HOME_EVENT: &str = include_str!("../../events/home-activities.json");

/// Stands in for the extension: a real server that keeps what it got.
pub(crate) struct FakeExtension {
    pub(crate) address: SocketAddr,
    requests: Receiver<(usize, ExportTraceServiceRequest)>,
    logs: Receiver<ExportLogsServiceRequest>,
}

/// The receivers of a request.
#[derive(Clone)]
struct Senders {
    traces: Sender<(usize, ExportTraceServiceRequest)>,
    logs: Sender<ExportLogsServiceRequest>,
}

impl FakeExtension {
    /// Answers every request with `status_line`, such as `200 OK`.
    pub(crate) fn start(status_line: &'static str) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), status_line)
    }

    pub(crate) fn listen(listener: TcpListener, status_line: &'static str) -> Self {
        let address = listener.local_addr().unwrap();
        let ((traces, requests), (log_sender, logs)) = (channel(), channel());
        let senders = Senders { traces, logs: log_sender };
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let senders = senders.clone();
                thread::spawn(move || serve(stream.unwrap(), connection, status_line, &senders));
            }
        });
        Self { address, requests, logs }
    }

    /// The lines of the next request, if one has come before the last that was received.
    pub(crate) fn logs(&self) -> Option<ResourceLogs> {
        let mut request = self.logs.try_recv().ok()?;
        assert_eq!(request.resource_logs.len(), 1);
        Some(request.resource_logs.remove(0))
    }

    /// The next request: on which connection it came (from 0), and the resource with its spans.
    pub(crate) fn received(&self) -> (usize, ResourceSpans) {
        let request = self.requests.recv_timeout(Duration::from_secs(5));
        let (connection, mut request) = request.expect("no request arrived");
        assert_eq!(request.resource_spans.len(), 1);
        (connection, request.resource_spans.remove(0))
    }

    #[cfg(feature = "local")]
    pub(crate) fn has_received_nothing(&self) -> bool {
        self.requests.try_recv().is_err()
    }

    /// The spans of the next request, the server span last.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received().1.scope_spans.into_iter().flat_map(|scope| scope.spans).collect()
    }
}

fn serve(stream: TcpStream, connection: usize, status_line: &str, senders: &Senders) {
    let mut reader = BufReader::new(&stream);
    while let Some(head) = read_head(&mut reader) {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        // An error means that the test has ended.
        if head.starts_with("POST /v1/logs ") {
            let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
            let _ = senders.logs.send(request);
        } else {
            assert!(head.starts_with("POST /v1/traces "), "{head}");
            let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
            let _ = senders.traces.send((connection, request));
        }
        write!(&stream, "HTTP/1.1 {status_line}\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// The key of the user whom [`Event::by`] names.
#[cfg(feature = "local")]
pub(crate) fn key(handle: &str) -> UserKey {
    UserKey::of_token("", &format!("sub of {handle}")).unwrap()
}

/// An activity of `andrew`, without replies, written at `created_at` to live for a day.
#[cfg(feature = "local")]
pub(crate) fn activity(uuid: u128, created_at: Timestamp) -> Activity {
    Activity {
        uuid: Uuid::from_u128(uuid),
        author: key("andrew"),
        message: MessageText::parse("Hello").unwrap(),
        created_at,
        expires_at: created_at + SignedDuration::from_hours(24),
        counters: Counters::default(),
    }
}

/// Writes an activity and replies as they are, counters included.
#[cfg(feature = "local")]
pub(crate) async fn write_thread(table: &dyn Table, activity: &Activity, replies: &[Reply]) {
    let mut items = codec::activity_items(activity, &[].into()).unwrap();
    items.extend(codec::word_items(activity));
    for reply in replies {
        let notified = [Recipient::User(activity.author)].into();
        items.extend(codec::reply_items(reply, &notified).unwrap());
    }
    let writes: Vec<_> = items.into_iter().map(store::Write::Upsert).collect();
    for writes in writes.chunks(MAX_WRITES) {
        table.transact_write(writes, activity.created_at).await.unwrap();
    }
}

/// A reply of `worf` to `parent`, in the thread of `root`.
#[cfg(feature = "local")]
pub(crate) fn reply(
    uuid: u128,
    root: &Activity,
    parent: u128,
    depth: u8,
    created_at: Timestamp,
) -> Reply {
    Reply {
        uuid: Uuid::from_u128(uuid),
        root_uuid: root.uuid,
        reply_to_activity_uuid: Uuid::from_u128(parent),
        depth,
        author: key("worf"),
        message: LongText::parse("Qapla'").unwrap(),
        created_at,
        expires_at: root.expires_at,
        counters: Counters::default(),
    }
}
