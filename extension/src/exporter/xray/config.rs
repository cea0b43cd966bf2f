//! Settings of the X-Ray exporter.

use crate::exporter::xray::annotations::AnnotationFilter;
use crate::settings::{Reader, Rejected, Variable, parse_share};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        "CRUDDUR_XRAY_TRANSPORT",
        "auto",
        "otlp: spans as received, which needs Transaction Search; segments: documents; daemon: documents \
         by UDP; auto: the daemon that is set, else otlp where X-Ray takes it",
    ),
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
    pub transport: XrayTransport,
}

/// The way of spans to X-Ray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XrayTransport {
    /// Documents, and OTLP as soon as X-Ray has taken it.
    Auto,
    Otlp,
    Segments,
    /// Documents to the daemon at this `host:port`.
    Daemon(String),
}

impl XrayConfig {
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let undecided = reader.or_default("CRUDDUR_XRAY_UNDECIDED", parse_share);
        let parse = |list: &str| Ok(AnnotationFilter::parse(list));
        let annotations = reader.or_default("CRUDDUR_XRAY_ANNOTATIONS", parse);
        let transport = read_transport(reader).ok()?;
        if !matches!(transport, XrayTransport::Daemon(_)) && reader.region().is_none() {
            let reason = "names xray, which needs AWS_REGION or AWS_XRAY_DAEMON_ADDRESS";
            reader.reject("CRUDDUR_EXPORTERS", reason);
            return None;
        }
        Some(Self { undecided, annotations, transport })
    }
}

/// A daemon's address that is invalid switches the exporter off. `otlp` and `segments` ignore the address,
/// which the X-Ray SDKs of the function read, too.
fn read_transport(reader: &mut Reader<'_>) -> Result<XrayTransport, Rejected> {
    const ADDRESS: &str = "AWS_XRAY_DAEMON_ADDRESS";
    let name = reader.or_default("CRUDDUR_XRAY_TRANSPORT", transport_name);
    match (name, reader.get(ADDRESS)) {
        ("otlp", _) => Ok(XrayTransport::Otlp),
        ("segments", _) => Ok(XrayTransport::Segments),
        (_, Some(_)) => {
            let address = reader.parsed(ADDRESS, daemon_address).ok_or(Rejected)?;
            Ok(XrayTransport::Daemon(address))
        }
        ("daemon", None) => {
            let reason = "is daemon, which needs AWS_XRAY_DAEMON_ADDRESS, so xray gets nothing";
            reader.reject("CRUDDUR_XRAY_TRANSPORT", reason);
            Err(Rejected)
        }
        (_, None) => Ok(XrayTransport::Auto),
    }
}

fn transport_name(text: &str) -> Result<&'static str, String> {
    let known = ["auto", "otlp", "segments", "daemon"];
    let found = known.into_iter().find(|name| text.eq_ignore_ascii_case(name));
    found.ok_or_else(|| "is ignored: not auto, otlp, segments or daemon".into())
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
