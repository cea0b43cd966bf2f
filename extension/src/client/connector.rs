//! Connections of TCP, made directly or by a tunnel of the proxy. TLS is on top of them.

use std::{
    error::Error,
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use forward_proxy::Way;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::Intercept,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::client::{freeze::timeout_awake, network::settings};

/// Limit for the connection to the proxy and its answer to CONNECT, half of the limit of a request.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(5);

type ConnectError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Debug)]
pub(super) struct TcpConnector(HttpConnector);

impl TcpConnector {
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        Self(tcp)
    }

    async fn tunnel(
        tcp: HttpConnector,
        proxy: Intercept,
        destination: Uri,
    ) -> Result<TokioIo<TcpStream>, ConnectError> {
        let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let refused = |reason| TunnelRefused {
            proxy: proxy.uri().clone(),
            destination: destination.clone(),
            reason,
        };
        match timeout_awake(TUNNEL_TIMEOUT, tunnel.call(destination.clone())).await {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(error)) => Err(refused(error.into()).into()),
            None => Err(refused(format!("no answer within {TUNNEL_TIMEOUT:?}").into()).into()),
        }
    }
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // as HttpConnector, always
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let way = settings().proxy.as_ref().map(|proxy| proxy.way(&destination));
        match way {
            None | Some(Way::Direct(_)) => {
                let connecting = self.0.call(destination);
                Box::pin(async { connecting.await.map_err(Into::into) })
            }
            Some(Way::Proxy(proxy)) => Box::pin(Self::tunnel(self.0.clone(), proxy, destination)),
            Some(Way::Closed(error)) => Box::pin(std::future::ready(Err(error.clone().into()))),
        }
    }
}

/// The proxy made no tunnel. Its URI has no user.
#[derive(Debug)]
struct TunnelRefused {
    proxy: Uri,
    destination: Uri,
    reason: ConnectError,
}

impl fmt::Display for TunnelRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = |uri: &Uri| uri.authority().map(ToString::to_string).unwrap_or_default();
        let (proxy, destination) = (authority(&self.proxy), authority(&self.destination));
        write!(f, "the proxy {proxy} of HTTPS_PROXY does not connect to {destination}")
    }
}

impl Error for TunnelRefused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.reason)
    }
}
