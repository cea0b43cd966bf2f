//! Settings of the page: whether it is on, its address, and those of the exporters whose documents it
//! previews.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::exporter::cloudwatch_logs::config::CloudWatchLogsConfig;
use crate::exporter::honeycomb::config::HoneycombConfig;
use crate::exporter::kind::Selection;
use crate::exporter::page::store::PageStore;
use crate::exporter::rollbar::config::{RollbarConfig, read_items};
use crate::exporter::xray::config::{XrayConfig, XrayTransport};
use crate::processor::failures::settings::ItemSettings;
use crate::settings::{Reader, Variable, parse_names, parse_trace_url};

pub(super) const VARIABLES: &[Variable] = &[Variable::new(
    "CRUDDUR_PAGE",
    "on",
    "on: a page at the address of OTLP/HTTP shows what arrived; off; never in the layer, and on Lambda only if \
     CRUDDUR_EXPORTERS names it",
)];

#[derive(Clone, Debug)]
pub struct PageConfig {
    /// Such as `http://localhost:4318`; `None` if the port is not known yet.
    pub address: Option<String>,
    /// Failures are gathered with these, if Rollbar gets none.
    pub items: ItemSettings,
    pub previews: PreviewSettings,
    /// The destinations, with the addresses of those that are configured.
    pub endpoints: Vec<(&'static str, Option<String>)>,
    pub trace_url: Option<String>,
    /// The exporter and the server share it.
    pub store: PageStore,
}

/// The settings of the exporters, by default values where an exporter is not configured.
#[derive(Clone, Debug)]
pub struct PreviewSettings {
    pub honeycomb: Option<HoneycombConfig>,
    pub xray: Option<XrayConfig>,
    pub cloudwatch: Option<CloudWatchLogsConfig>,
    pub rollbar: Option<RollbarConfig>,
}

impl PageConfig {
    pub(super) fn read(reader: &mut Reader<'_>, selection: Selection) -> Option<Self> {
        if !is_on(reader, selection.is_on_lambda) {
            return None;
        }
        let configured = PreviewSettings::read(reader);
        let default = reader.read_from(&default_value, PreviewSettings::read);
        Some(Self {
            address: address(reader, selection.is_on_lambda),
            items: read_items(reader),
            endpoints: configured.endpoints(),
            previews: configured.or(default),
            trace_url: reader.parsed("CRUDDUR_TRACE_URL", parse_trace_url),
            store: PageStore::default(),
        })
    }
}

/// Whether the page runs: on a loopback address, on Lambda only if it is named.
fn is_on(reader: &mut Reader<'_>, is_on_lambda: bool) -> bool {
    let names = reader.get("CRUDDUR_EXPORTERS").map(|list| parse_names(&list));
    let is_named = names.as_ref().is_some_and(|names| names.iter().any(|name| name == "page"));
    let is_switched_on = reader.or_default("CRUDDUR_PAGE", |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is ignored, so there is a page: neither on nor off".into()),
    });
    let is_wanted = is_named || names.is_none() && !is_on_lambda;
    is_wanted && is_switched_on && listen(reader).is_some_and(|it| it.ip().is_loopback())
}

fn listen(reader: &Reader<'_>) -> Option<SocketAddr> {
    let default = || "127.0.0.1:4318".to_owned();
    reader.get("CRUDDUR_OTLP_LISTEN").unwrap_or_else(default).parse().ok()
}

/// The page's address, if it is on and its port is known before it is bound.
pub fn address(reader: &mut Reader<'_>, is_on_lambda: bool) -> Option<String> {
    let address = is_on(reader, is_on_lambda).then(|| listen(reader))??;
    Some(url(address)).filter(|_| address.port() > 0)
}

/// With `localhost` where that is the address: people know it.
pub fn url(address: SocketAddr) -> String {
    let is_localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match is_localhost.contains(&address.ip()) {
        true => format!("http://localhost:{}", address.port()),
        false => format!("http://{address}"),
    }
}

/// Values with which each exporter can preview. None of them is sent anywhere.
fn default_value(name: &str) -> Option<String> {
    let value = match name {
        "HONEYCOMB_API_KEY" | "ROLLBAR_ACCESS_TOKEN" | "CRUDDUR_LOG_GROUP" => "preview",
        "AWS_REGION" => "us-east-1",
        // Spans without X-Ray's header become documents, too.
        "CRUDDUR_XRAY_UNDECIDED" => "1",
        "CRUDDUR_EXPORTERS" => "honeycomb,xray,cloudwatch,rollbar",
        "ROLLBAR_ENVIRONMENT" => "development",
        _ => return None,
    };
    Some(value.to_owned())
}

impl PreviewSettings {
    /// The settings of the exporters that run.
    fn read(reader: &mut Reader<'_>) -> Self {
        let names = reader.get("CRUDDUR_EXPORTERS").map(|list| parse_names(&list));
        let is_named = |name: &str| names.as_ref().map(|names| names.iter().any(|it| it == name));
        // Unnamed exporters run if no list is set and they have a key; X-Ray needs its name.
        let [honeycomb, xray, cloudwatch, rollbar] =
            ["honeycomb", "xray", "cloudwatch", "rollbar"].map(is_named);
        let runs = |named: &Option<bool>| *named != Some(false);
        Self {
            honeycomb: runs(&honeycomb)
                .then(|| HoneycombConfig::read(reader, honeycomb.is_some()))
                .flatten(),
            xray: (xray == Some(true)).then(|| XrayConfig::read(reader)).flatten(),
            cloudwatch: runs(&cloudwatch)
                .then(|| CloudWatchLogsConfig::read(reader, cloudwatch.is_some()))
                .flatten(),
            rollbar: runs(&rollbar)
                .then(|| RollbarConfig::read(reader, rollbar.is_some()))
                .flatten(),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            honeycomb: self.honeycomb.or(other.honeycomb),
            xray: self.xray.or(other.xray),
            cloudwatch: self.cloudwatch.or(other.cloudwatch),
            rollbar: self.rollbar.or(other.rollbar),
        }
    }

    fn endpoints(&self) -> Vec<(&'static str, Option<String>)> {
        let xray = self.xray.as_ref().map(|config| match &config.transport {
            XrayTransport::Daemon(address) => format!("the daemon at {address}"),
            _ => "X-Ray's API".to_owned(),
        });
        let group = self.cloudwatch.as_ref().map(|config| format!("log group {}", config.group));
        let shown = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
        vec![
            ("honeycomb", self.honeycomb.as_ref().map(|config| shown(&config.endpoint))),
            ("xray", xray),
            ("cloudwatch", group),
            ("rollbar", self.rollbar.as_ref().map(|config| shown(&config.endpoint))),
            ("console", Some("standard output".to_owned())),
            ("page", Some("this page's memory".to_owned())),
        ]
    }
}
