//! Refuses requests that another site or machine may have caused.
//!
//! A name that an attacker's name server resolves to 127.0.0.1 would make the page one of the attacker's
//! own site. So `Host` must be `localhost` or a loopback address, which no name server can take.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Request, StatusCode, header, uri::Authority};

use crate::exporter::page::query::PageRefusal;
use crate::receiver::server::ClientConnection;

/// Fails with 403 unless the client is on this machine, and the request comes from the page or from no
/// page.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), PageRefusal> {
    let refused = |reason: &str| Err(PageRefusal(StatusCode::FORBIDDEN, reason.to_owned()));
    let connection = request.extensions().get::<ClientConnection>();
    if !connection.is_some_and(ClientConnection::is_local) {
        return refused("the page is shown to this machine only");
    }
    let Some(host) = host(request) else {
        return refused("Host is missing");
    };
    if !is_loopback(host) {
        return refused("Host must be localhost or a loopback address, such as 127.0.0.1:4318");
    }
    match text(request.headers(), header::ORIGIN) {
        None => Ok(()),
        Some(origin) if origin == format!("http://{host}") => Ok(()),
        Some(_) => refused("Origin must be the page's own"),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default())
}

/// `Host`, unless the request has several.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_names_are_hosts_of_the_page() {
        for host in ["localhost", "LOCALHOST:4318", "127.0.0.1:4318", "127.77.0.1", "[::1]:4318"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org:4318",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "127.0.0.1@example.org",
            "192.168.0.1:4318",
            "0.0.0.0:4318",
            "[::2]",
            "http://localhost/",
            "/localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
