//! Which connections go by the proxy of `HTTPS_PROXY`, for the extension and for the functions.
//!
//! Only `https` destinations use the proxy, by CONNECT. Loopback and link-local addresses are always
//! reached directly, and so are the destinations of `NO_PROXY`. An invalid proxy is never bypassed.

mod exceptions;
mod url;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::exceptions::Exceptions;

/// The first that is set counts.
pub const URL_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
pub const EXCEPTION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

const HTTPS_PORT: u16 = 443;

/// Why no destination can be reached by the proxy. Never shows the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub struct InvalidProxy {
    pub variable: &'static str,
    pub reason: &'static str,
}

/// The proxy and its exceptions. `Debug` does not print the URL.
#[derive(Clone)]
pub struct ProxyRules {
    url: Result<String, InvalidProxy>,
    exceptions: Exceptions,
}

impl std::fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRules").field("exceptions", &self.exceptions).finish_non_exhaustive()
    }
}

/// How a destination is reached.
#[derive(Clone, Debug)]
pub enum Way<'a> {
    Direct(DirectReason),
    Proxy(Intercept),
    /// The destination needs the proxy, whose URL is invalid.
    Closed(&'a InvalidProxy),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectReason {
    /// The destination is not `https`.
    Plain,
    /// A local address, or an exception.
    Excepted,
}

impl ProxyRules {
    /// Reads the variables; an empty value counts as unset. `None` without a proxy.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = var(name)?;
                Some((name, value.trim().to_owned())).filter(|(_, value)| !value.is_empty())
            })
        };
        let (variable, url) = first(URL_VARIABLES)?;
        let url = url::parse(&url).map_err(|reason| InvalidProxy { variable, reason });
        let (_, exceptions) = first(EXCEPTION_VARIABLES).unwrap_or_default();
        Some(Self { url, exceptions: Exceptions::parse(&exceptions) })
    }

    pub fn error(&self) -> Option<&InvalidProxy> {
        self.url.as_ref().err()
    }

    pub fn way(&self, destination: &Uri) -> Way<'_> {
        if destination.scheme_str() != Some("https") {
            return Way::Direct(DirectReason::Plain);
        }
        let port = destination.port_u16().unwrap_or(HTTPS_PORT);
        // The host of a name without a search list ends with a dot.
        let host = destination.host().unwrap_or_default().trim_end_matches('.');
        let plain: Uri = format!("https://{host}").parse().unwrap_or_default();
        let intercept = |url: &str| {
            let exceptions = self.exceptions.at_port(port)?;
            Matcher::builder().https(url).no(exceptions).build().intercept(&plain)
        };
        // Whether the destination needs the proxy does not depend on the proxy's address.
        let any = "http://proxy.invalid";
        match (&self.url, intercept(self.url.as_deref().unwrap_or(any))) {
            (_, None) => Way::Direct(DirectReason::Excepted),
            (Ok(_), Some(intercept)) => Way::Proxy(intercept),
            (Err(error), Some(_)) => Way::Closed(error),
        }
    }

    /// The proxy's URL and a comma list of the hosts and networks without the proxy, for a client that
    /// reaches one port and matches hosts itself. `None` if everything at this port is reached directly.
    pub fn at_port(&self, port: u16) -> Option<Result<(&str, String), &InvalidProxy>> {
        let exceptions = self.exceptions.at_port(port)?;
        Some(self.url.as_deref().map(|url| (url, exceptions)))
    }
}

/// The proxy's `host:port`; `set` if the URL is invalid, since parts of it may be secret.
pub fn shown(url: &str) -> String {
    let uri = url::parse(url).ok().and_then(|url| url.parse::<Uri>().ok());
    let authority = uri.as_ref().and_then(Uri::authority).map(|authority| authority.as_str());
    let host = authority.and_then(|authority| authority.rsplit('@').next());
    host.unwrap_or("set").to_owned()
}

#[cfg(test)]
mod tests;
