//! `NO_PROXY`: hosts, suffixes, addresses and networks that are reached directly.

/// Never reached by a proxy: loopback and link-local addresses.
const LOCAL: &str = "localhost,127.0.0.0/8,::1,::ffff:127.0.0.0/104,169.254.0.0/16,::ffff:169.254.0.0/112,fe80::/10";

#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    /// A host with its subdomains, an address or a network; `*` is everything.
    host: String,
    /// `None` for every port.
    port: Option<u16>,
}

impl Exceptions {
    /// Reads a list with commas or blanks between the entries.
    pub(super) fn parse(list: &str) -> Self {
        let entries = list.split(|char: char| char == ',' || char.is_whitespace());
        Self(entries.filter(|entry| !entry.is_empty()).map(Exception::parse).collect())
    }

    /// The hosts and networks at this port, and the local ones, with commas between. `None` if everything
    /// is reached directly.
    pub(super) fn at_port(&self, port: u16) -> Option<String> {
        let mut list = LOCAL.to_owned();
        for exception in self.0.iter().filter(|it| it.port.is_none_or(|own| own == port)) {
            if exception.host == "*" {
                return None;
            }
            list.push(',');
            list.push_str(&exception.host);
        }
        Some(list)
    }
}

impl Exception {
    fn parse(entry: &str) -> Self {
        let (host, port) = match entry.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').unwrap_or((rest, ""));
                (host, rest.strip_prefix(':'))
            }
            // More than one colon is an IPv6 address or network.
            None => match entry.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (entry, None),
            },
        };
        // Port 0 matches no destination, so an entry with a damaged port has no effect.
        let port = port.map(|port| port.parse().unwrap_or(0));
        let host = host.trim_end_matches('.');
        // `*.example.com` has the meaning of `.example.com`.
        let host = if host.starts_with("*.") { &host[1..] } else { host };
        Self { host: host.to_owned(), port }
    }
}
