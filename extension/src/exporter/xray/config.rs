//! Settings of the X-Ray exporter.

use crate::exporter::xray::annotations::AnnotationFilter;
use crate::settings::{Reader, parse_share};

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
        let undecided = reader.parsed("CRUDDUR_XRAY_UNDECIDED", parse_share).unwrap_or(0.0);
        let annotations = reader.get("CRUDDUR_XRAY_ANNOTATIONS");
        let annotations = annotations
            .map_or_else(AnnotationFilter::default, |list| AnnotationFilter::parse(&list));
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
