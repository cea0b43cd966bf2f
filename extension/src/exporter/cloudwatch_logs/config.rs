//! Settings of the CloudWatch Logs exporter. Region, credentials and endpoint are the SDK's own
//! variables.

use crate::settings::{Reader, Variable, parse_names};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        "CRUDDUR_LOG_GROUP",
        "",
        "log group for the function's lines, the platform's records and metrics; switches cloudwatch on",
    ),
    Variable::new(
        "CRUDDUR_LOG_RETENTION_DAYS",
        "30",
        "days that a group keeps lines if the extension has to create it",
    ),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatchLogsConfig {
    pub group: String,
    /// The retention of a group that the exporter has to create.
    pub retention_days: u16,
    /// The function's name and version are part of the stream's name.
    pub function: String,
    pub version: String,
    /// Further names of fields whose values are masked as secrets.
    pub scrub: Vec<String>,
}

impl CloudWatchLogsConfig {
    /// `named`: whether `CRUDDUR_EXPORTERS` names the exporter, so that a missing group is an error.
    pub fn read(reader: &mut Reader<'_>, named: bool) -> Option<Self> {
        if named && reader.get("CRUDDUR_LOG_GROUP").is_none() {
            let reason = "names cloudwatch, which needs CRUDDUR_LOG_GROUP";
            reader.reject("CRUDDUR_EXPORTERS", reason);
        }
        let group = reader.parsed("CRUDDUR_LOG_GROUP", parse_log_group)?;
        let retention_days = reader.or_default("CRUDDUR_LOG_RETENTION_DAYS", parse_retention);
        if reader.region().is_none() {
            reader.reject("AWS_REGION", "must be set, or cloudwatch gets nothing");
            return None;
        }
        let version = reader.get("AWS_LAMBDA_FUNCTION_VERSION");
        Some(Self {
            group,
            retention_days,
            function: reader.function_name(),
            version: version.unwrap_or_else(|| "$LATEST".to_owned()),
            scrub: scrub_names(reader),
        })
    }
}

fn scrub_names(reader: &Reader<'_>) -> Vec<String> {
    reader.get("CRUDDUR_SCRUB").map(|list| parse_names(&list)).unwrap_or_default()
}

/// By <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>
fn parse_log_group(name: &str) -> Result<String, String> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || ".-_/#".contains(char);
    match name.chars().all(allowed) && name.len() <= 512 && !name.starts_with("aws/") {
        true => Ok(name.to_owned()),
        false => Err("is not a log group name, so cloudwatch gets nothing".into()),
    }
}

/// The days that PutRetentionPolicy accepts.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const RETENTIONS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

fn parse_retention(days: &str) -> Result<u16, String> {
    let days = days.parse().ok().filter(|days| RETENTIONS.contains(days));
    days.ok_or_else(|| format!("is ignored: CloudWatch Logs accepts only {RETENTIONS:?}"))
}
