//! The proxy and the further certificates, by variables that other programs read too.

use std::{path::PathBuf, sync::OnceLock};

use forward_proxy::{DirectReason, EXCEPTION_VARIABLES, ProxyRules, URL_VARIABLES, Way, shown};
use http::Uri;

use crate::settings::{Reader, Variable};

pub const VARIABLES: &[Variable] = &[
    Variable::new(
        URL_VARIABLES[0],
        "",
        "the proxy of https destinations: http://host:port or http://user:password@host:port",
    )
    .shown_by(shown),
    Variable::new(URL_VARIABLES[1], "", "the same, if the above is unset").shown_by(shown),
    Variable::new(
        EXCEPTION_VARIABLES[0],
        "",
        "comma list of destinations without the proxy: hosts, .suffixes, addresses or networks, with or \
         without :port; *: all",
    ),
    Variable::new(EXCEPTION_VARIABLES[1], "", "the same, if the above is unset"),
    Variable::new(
        BUNDLE_VARIABLES[0],
        "",
        "file of PEM certificates that are trusted beside the built-in ones",
    ),
    Variable::new(BUNDLE_VARIABLES[1], "", "the same, if the above is unset"),
    Variable::new(BUNDLE_VARIABLES[2], "", "the same, if the two above are unset"),
];

/// The first that is set counts.
const BUNDLE_VARIABLES: [&str; 3] = ["CRUDDUR_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"];

/// Without any of the variables, everything is reached directly with the built-in certificates.
#[derive(Clone, Debug, Default)]
pub struct NetworkSettings {
    pub(super) proxy: Option<ProxyRules>,
    pub(super) ca_bundle: Option<CaBundle>,
}

/// A file that is read before the first connection, not in init.
#[derive(Clone, Debug)]
pub(super) struct CaBundle {
    pub(super) variable: &'static str,
    pub(super) path: PathBuf,
}

static SETTINGS: OnceLock<NetworkSettings> = OnceLock::new();

impl NetworkSettings {
    /// An invalid proxy closes the way of each destination that needs it, instead of being bypassed.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let proxy = ProxyRules::from_vars(|name| reader.get(name));
        if let Some(error) = proxy.as_ref().and_then(ProxyRules::error) {
            reader.reject(error.variable, error.reason);
        }
        let bundle = BUNDLE_VARIABLES.into_iter().find_map(|variable| {
            let path = reader.get(variable)?.into();
            Some(CaBundle { variable, path })
        });
        Self { proxy, ca_bundle: bundle }
    }

    /// Makes them the settings of all clients of the process. Later calls change nothing.
    pub fn apply(self) {
        let _ = SETTINGS.set(self);
    }
}

pub(super) fn settings() -> &'static NetworkSettings {
    SETTINGS.get_or_init(NetworkSettings::default)
}

/// How requests to a URL go, as text. `None` if they do not.
pub fn described(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let place = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    Some(match settings().proxy.as_ref().map(|proxy| proxy.way(&uri)) {
        None => format!("requests go to {place} directly"),
        Some(Way::Direct(DirectReason::Plain)) => {
            format!("requests go to {place} directly: the proxy is for https alone")
        }
        Some(Way::Direct(DirectReason::Excepted)) => {
            format!("requests go to {place} directly: it is a local address, or in NO_PROXY")
        }
        Some(Way::Proxy(proxy)) => {
            format!("requests go to {place} by the proxy {}", proxy.uri().authority()?)
        }
        Some(Way::Closed(_)) => return None,
    })
}
