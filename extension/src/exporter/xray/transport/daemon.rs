//! An X-Ray daemon, which takes a document in each datagram and never answers.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>
//!
//! What was handed to the network counts as delivered. On Lambda the address is withheld from
//! extensions, so this is for daemons elsewhere.

use http::StatusCode;
use tokio::net::UdpSocket;

use crate::delivery::{error::ExportError, healthcheck::Finding};

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

    /// Sends a document. Nobody listening is noticed with the one after, if at all.
    ///
    /// One that the system does not send for its size (some send no more than 9 kB) is refused as by
    /// HTTP.
    pub(super) async fn send(&mut self, document: &str) -> Result<(), ExportError> {
        let datagram = [HEADER, document].concat();
        let sent = match &mut self.socket {
            Some(socket) => socket.send(datagram.as_bytes()).await,
            none => match connect(&self.address).await {
                Ok(socket) => none.insert(socket).send(datagram.as_bytes()).await,
                Err(error) => Err(error),
            },
        };
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                Err(ExportError::Status {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    message: format!("{} bytes do not fit one datagram", datagram.len()),
                    retry_after: None,
                })
            }
            Err(error) => {
                self.socket = None; // its address may be another by now
                let address = &self.address;
                Err(ExportError::Unreachable(format!("the X-Ray daemon at {address}: {error}")))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_datagram_holds_is_refused_and_the_next_is_sent() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut daemon = Daemon::new(listener.local_addr().unwrap().to_string());

        let refused = daemon.send(&"x".repeat(70_000)).await.unwrap_err();
        daemon.send("{}").await.unwrap();

        assert!(refused.is_final(), "{refused}");
        let mut datagram = [0; 100];
        let length = listener.recv(&mut datagram).await.unwrap();
        assert_eq!(&datagram[..length], [HEADER, "{}"].concat().as_bytes());
    }

    #[tokio::test]
    async fn after_a_failure_the_address_is_looked_up_again() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut daemon = Daemon::new(gone.to_string());

        daemon.send("{}").await.unwrap();
        let error = daemon.send("{}").await.unwrap_err();

        assert!(!error.is_final(), "{error}");
        assert!(daemon.socket.is_none());
    }
}
