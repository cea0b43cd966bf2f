//! Settings of the X-Ray exporter.

use crate::exporter::xray::annotations::AnnotationFilter;
use crate::settings::{Reader, Variable, parse_share};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        "CRUDDUR_XRAY_UNDECIDED",
        "0",
        "the share, 0 to 1, of undecided invocations that X-Ray gets as root segments",
    ),
    Variable::new(
        "CRUDDUR_XRAY_ANNOTATIONS",
        "app.*,enduser.id,http.route,user.id",
        "comma list of attributes that X-Ray indexes; * ends a prefix",
    ),
    Variable::new(
        "AWS_XRAY_DAEMON_ADDRESS",
        "",
        "host:port of a daemon that gets the segments by UDP; unset: X-Ray's API",
    ),
];

#[derive(Clone, Debug)]
pub struct XrayConfig {
    /// The share, 0 to 1, that is sent of traces without a sampling decision.
    pub undecided: f64,
    /// The attributes that become annotations.
    pub annotations: AnnotationFilter,
    /// `host:port` of the daemon that gets the documents instead of X-Ray's API.
    pub daemon: Option<String>,
}

impl XrayConfig {
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let undecided = reader.or_default("CRUDDUR_XRAY_UNDECIDED", parse_share);
        let parse = |list: &str| Ok(AnnotationFilter::parse(list));
        let annotations = reader.or_default("CRUDDUR_XRAY_ANNOTATIONS", parse);
        let daemon = match reader.get("AWS_XRAY_DAEMON_ADDRESS") {
            None => None,
            Some(_) => Some(reader.parsed("AWS_XRAY_DAEMON_ADDRESS", daemon_address)?),
        };
        if daemon.is_none() && reader.region().is_none() {
            let reason = "names xray, which needs AWS_REGION or AWS_XRAY_DAEMON_ADDRESS";
            reader.reject("CRUDDUR_EXPORTERS", reason);
            return None;
        }
        Some(Self { undecided, annotations, daemon })
    }
}

/// `host:port`, or `tcp:host:port udp:host:port` as X-Ray's own SDKs take it: the UDP address counts.
fn daemon_address(text: &str) -> Result<String, String> {
    let mut parts = text.split_whitespace().filter(|part| !part.starts_with("tcp:"));
    let address = parts.next_back().unwrap_or_default().trim_start_matches("udp:");
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(address.into()),
        _ => Err("is not host:port, so xray gets nothing".into()),
    }
}
