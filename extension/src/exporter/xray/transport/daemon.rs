//! An X-Ray daemon, which takes a document in each datagram and never answers.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>
//!
//! What was handed to the network counts as delivered. On Lambda the address is withheld from
//! extensions, so this is for daemons elsewhere.

use tokio::net::UdpSocket;

use super::{ExportError, Ready};
use crate::exporter::check::Finding;

/// The first line of each datagram.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::exporter::xray) struct Daemon {
    /// `host:port`
    address: String,
    socket: Option<UdpSocket>,
}

impl Daemon {
    pub(super) fn new(address: String) -> Self {
        Self { address, socket: None }
    }

    pub(super) async fn send(&mut self, documents: &[Ready]) -> Result<(), ExportError> {
        let address = &self.address;
        let unreachable = |error: std::io::Error| {
            ExportError::Unreachable(format!("the X-Ray daemon at {address}: {error}"))
        };
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(connect(address).await.map_err(unreachable)?),
        };
        for document in documents {
            // Nobody listening is noticed with the datagram after the first, if at all.
            let datagram = [HEADER, &document.json].concat();
            socket.send(datagram.as_bytes()).await.map_err(unreachable)?;
        }
        Ok(())
    }

    pub(super) async fn check(&self) -> Finding {
        let address = &self.address;
        match connect(address).await {
            Ok(_) => Finding::fine(format!(
                "segments go to {address} by UDP, where nobody says whether they came"
            )),
            Err(error) => Finding::failed(address, &ExportError::Unreachable(error.to_string())),
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.socket = None;
    }
}

/// To the first address of its name, from any of ours.
async fn connect(address: &str) -> std::io::Result<UdpSocket> {
    let mut found = tokio::net::lookup_host(address).await?;
    let address = found.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
