//! A forward proxy that speaks CONNECT: it records what it is asked for, and fails as a test sets it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::record::Record;
use crate::tls_front::TlsFront;

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// How a proxy answers a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ProxyAnswer {
    /// With a tunnel, if it knows the destination and the user may pass.
    Tunnel,
    /// With this status.
    Refuse(u16),
    /// With bytes that are not HTTP.
    Garbage,
    /// With the end of the connection.
    Close,
    /// Never.
    Hang,
}

/// One request for a tunnel.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// `host:port`.
    pub target: String,
    /// The header `Proxy-Authorization`.
    pub authorization: Option<String>,
    /// Whether a tunnel was made.
    pub is_tunnelled: bool,
}

/// Dropping it closes the port and all tunnels.
pub struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
    requests: Record<Connect>,
}

struct State {
    answer: ProxyAnswer,
    /// The only credentials that pass; `None` accepts every request.
    authorization: Option<String>,
    routes: HashMap<String, SocketAddr>,
}

impl ConnectProxy {
    /// Starts one on a free port. It knows no destination.
    pub async fn start() -> ConnectProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let state =
            State { answer: ProxyAnswer::Tunnel, authorization: None, routes: HashMap::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), requests: Record::default() });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        ConnectProxy { address, shared, task }
    }

    /// As in `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on only this user passes. Returns the URL with both, percent-encoded.
    pub fn require(&self, user: &str, password: &str) -> String {
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.shared.state().authorization = Some(format!("Basic {basic}"));
        let encoded = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        format!("http://{}:{}@{}", encoded(user), encoded(password), self.address)
    }

    /// Makes a destination known.
    pub fn route(&self, front: &TlsFront) {
        self.shared.state().routes.insert(front.target(), front.address());
    }

    /// Answers every request from now on like this.
    pub fn always(&self, answer: ProxyAnswer) {
        self.shared.state().answer = answer;
    }

    /// All requests so far, however they were answered.
    pub fn requests(&self) -> Vec<Connect> {
        self.shared.requests.all()
    }

    /// Waits until so many requests have come; panics if they do not.
    pub async fn requests_reach(&self, count: usize) -> Vec<Connect> {
        let enough = |all: &[Connect]| (all.len() >= count).then(|| all.to_vec());
        let found = self.shared.requests.find(enough).await;
        found.unwrap_or_else(|| panic!("not {count} requests, but {:?}", self.requests()))
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request, and the address of the tunnel's other end.
    fn answer(&self, head: &str) -> (ProxyAnswer, Option<SocketAddr>) {
        let state = self.state();
        let mut lines = head.split("\r\n");
        let target = lines
            .next()
            .and_then(|line| line.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1"))
            .unwrap_or("no CONNECT request")
            .to_owned();
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        let authorization = headers
            .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
            .map(|(_, value)| value.to_owned());
        let may_pass = state.authorization.is_none() || state.authorization == authorization;
        let route = state.routes.get(&target).copied();
        let (answer, route) = match state.answer {
            ProxyAnswer::Tunnel if !may_pass => (ProxyAnswer::Refuse(407), None),
            ProxyAnswer::Tunnel if route.is_none() => (ProxyAnswer::Refuse(502), None),
            ProxyAnswer::Tunnel => (ProxyAnswer::Tunnel, route),
            other => (other, None),
        };
        self.requests.push(Connect { target, authorization, is_tunnelled: route.is_some() });
        (answer, route)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new(); // ends with this task
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move { serve(client, &shared).await });
    }
}

async fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (answer, route) = shared.answer(&String::from_utf8_lossy(&head));
    match (answer, route) {
        (ProxyAnswer::Tunnel, Some(route)) => {
            let mut server = TcpStream::connect(route).await?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        }
        (ProxyAnswer::Refuse(status), _) => {
            let reply = format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n");
            client.write_all(reply.as_bytes()).await
        }
        (ProxyAnswer::Garbage, _) => client.write_all(&[0x16, 0x03, 0x01, 0x00, 0xff, 0x0a]).await,
        (ProxyAnswer::Hang, _) => {
            while client.read(&mut [0; 4_096]).await? > 0 {}
            Ok(())
        }
        (ProxyAnswer::Tunnel | ProxyAnswer::Close, _) => Ok(()),
    }
}
