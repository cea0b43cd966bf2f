//! TLS before a fake, with a certificate of a private CA.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A CA that no program trusts by itself.
pub struct PrivateCa {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Default for PrivateCa {
    fn default() -> PrivateCa {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        PrivateCa { issuer: Issuer::new(params, key), folder }
    }
}

impl PrivateCa {
    /// The file of its certificate, as in `CRUDDUR_CA_BUNDLE`.
    pub fn bundle(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn server_config(&self, host: &str) -> ServerConfig {
        let params = CertificateParams::new([host.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a key that fits")
    }
}

/// Dropping it closes the port and all connections.
pub struct TlsFront {
    host: String,
    address: SocketAddr,
    task: AbortHandle,
}

impl TlsFront {
    /// Is `host` before the fake at this `http://host:port`.
    pub async fn start(ca: &PrivateCa, host: &str, upstream: &str) -> TlsFront {
        let upstream = upstream.trim_start_matches("http://").split('/').next().expect("a host");
        let upstream = upstream.parse().expect("host:port");
        let acceptor = TlsAcceptor::from(Arc::new(ca.server_config(host)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let task = tokio::spawn(accept(listener, acceptor, upstream)).abort_handle();
        TlsFront { host: host.to_owned(), address, task }
    }

    /// Its base address by its name, which only a proxy knows unless it is `localhost`.
    pub fn url(&self) -> String {
        format!("https://{}", self.target())
    }

    /// As it stands in a CONNECT request.
    pub fn target(&self) -> String {
        format!("{}:{}", self.host, self.address.port())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, upstream: SocketAddr) {
    let mut connections = JoinSet::new(); // ends with this task
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        connections.spawn(async move {
            let mut client = tls.accept(stream).await?;
            let mut server = TcpStream::connect(upstream).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
