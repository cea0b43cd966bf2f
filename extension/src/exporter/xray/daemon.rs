//! An X-Ray daemon, which receives one document per datagram and never answers.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>
//!
//! A datagram that the kernel accepted counts as delivered. Lambda hides its daemon's address from
//! extensions, so this transport serves daemons elsewhere.

use http::StatusCode;
use tokio::net::UdpSocket;

use crate::delivery::{error::ExportError, healthcheck::Finding};

/// First line of each datagram.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

#[derive(Debug)]
pub(crate) struct Daemon {
    address: String,
    socket: Option<UdpSocket>,
}

impl Daemon {
    pub(super) fn new(address: String) -> Self {
        Self { address, socket: None }
    }

    /// A missing listener fails the next datagram, if any.
    ///
    /// A document that exceeds the system's datagram size (9 kB on some systems) fails with status 413.
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
                self.socket = None; // the name may resolve to another address now
                let address = &self.address;
                Err(ExportError::Unreachable(format!("the X-Ray daemon at {address}: {error}")))
            }
        }
    }

    pub(super) async fn healthcheck(&self) -> Finding {
        let address = &self.address;
        match connect(address).await {
            Ok(_) => Finding::fine(format!(
                "segments go to {address} by UDP, which does not confirm delivery"
            )),
            Err(error) => Finding::failed(address, &ExportError::Unreachable(error.to_string())),
        }
    }

    pub(super) fn reset_connections(&mut self) {
        self.socket = None;
    }
}

/// Connects to the first address that the name resolves to.
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
    async fn a_document_larger_than_a_datagram_is_refused_and_the_next_is_sent() {
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
