//! A DynamoDB endpoint over TLS, as far away as a real one, that takes no time to answer.
//!
//! ```text
//! function ──TLS──▶ latency ──▶ TLS ends here ──▶ answers seen before, else the endpoint behind
//! ```
//! The time in a query's filter is not compared, so a read is the same read a moment later.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use http::Response;
use http_body_util::Full;
use rcgen::generate_simple_self_signed;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, duplex, split,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::fake::{Answered, Fake, Recorded};
use crate::http_client::{self, HttpReply};

/// Most bytes on their way in one direction.
const IN_FLIGHT: usize = 64 << 10;

/// Dropping it closes the port and all connections.
pub struct TlsStore {
    address: SocketAddr,
    answers: Fake,
    folder: TempDir,
    task: AbortHandle,
}

impl TlsStore {
    /// Stands before the endpoint at `upstream`. Bytes take `one_way` in each direction.
    pub async fn start(upstream: &str, one_way: Duration) -> TlsStore {
        let seen = Arc::new(Seen { upstream: upstream.to_owned(), answers: Mutex::default() });
        let answer = move |request: Recorded| {
            let seen = seen.clone();
            async move { seen.answer(&request).await }.boxed()
        };
        let answers = Fake::start(Box::new(answer)).await;
        let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("a file");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a key that fits");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let task = tokio::spawn(accept(listener, acceptor, answers.address, one_way));
        TlsStore { address, answers, folder, task: task.abort_handle() }
    }

    /// The base address, as in `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The file of the certificate, as in `CRUDDUR_CA_BUNDLE`.
    pub fn ca_bundle(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// A folder that lives as long as the endpoint.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many handshakes have succeeded so far.
    pub fn connections(&self) -> usize {
        self.answers.connections().all().len()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.answers.requests().all()
    }
}

impl Drop for TlsStore {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, upstream: SocketAddr, one_way: Duration) {
    let mut connections = JoinSet::new(); // ends with this task
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let tls = tls.clone();
        connections.spawn(async move {
            let (near, far) = duplex(IN_FLIGHT);
            let serve = async {
                let mut client = tls.accept(far).await?;
                let mut server = TcpStream::connect(upstream).await?;
                server.set_nodelay(true)?;
                copy_bidirectional(&mut client, &mut server).await
            };
            let ((from_client, to_client), (from_server, to_server)) = (split(stream), split(near));
            tokio::select! {
                _ = serve => {}
                () = delay(from_client, to_server, one_way) => {}
                () = delay(from_server, to_client, one_way) => {}
            }
        });
    }
}

/// Carries bytes, each chunk so much later.
async fn delay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, by: Duration) {
    let (on_the_way, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async move {
        let mut chunk = vec![0; IN_FLIGHT];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            let _ = on_the_way.send((Instant::now() + by, chunk[..length].to_vec()));
        }
    };
    let writing = async {
        while let Some((due, bytes)) = arriving.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

/// The answers so far, by operation and body.
struct Seen {
    upstream: String,
    answers: Mutex<HashMap<String, (u16, bytes::Bytes)>>,
}

impl Seen {
    async fn answer(&self, request: &Recorded) -> Answered {
        let asked = format!("{:?} {}", request.operation(), without_the_time(&request.body));
        let seen = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&asked).cloned();
        let (status, body) = match seen {
            Some(answer) => answer,
            None => {
                let answer = match self.pass_on(request).await {
                    Ok(reply) => (reply.status.as_u16(), reply.body),
                    Err(problem) => (502, problem.to_string().into()),
                };
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                answers.entry(asked).or_insert(answer).clone()
            }
        };
        Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(body))
            .expect("a well-formed answer")
    }

    async fn pass_on(&self, request: &Recorded) -> std::io::Result<HttpReply> {
        let headers: Vec<(&str, &str)> = ["content-type", "x-amz-target", "authorization"]
            .into_iter()
            .filter_map(|name| Some((name, request.header(name)?)))
            .collect();
        let url = format!("{}{}", self.upstream, request.path);
        http_client::send(request.method.clone(), &url, &headers, request.body.clone()).await
    }
}

fn without_the_time(body: &[u8]) -> Value {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(values) = body["ExpressionAttributeValues"].as_object_mut() {
        values.remove(":now");
    }
    body
}
