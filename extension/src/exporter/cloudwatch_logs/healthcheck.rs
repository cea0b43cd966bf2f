//! Whether CloudWatch Logs accepts lines for the group.

use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use jiff::Timestamp;

use crate::client::aws;
use crate::delivery::healthcheck::Finding;
use crate::exporter::cloudwatch_logs::request::LogStream;
use crate::otlp::line_codec::LogLine;

/// Puts a line into a stream that does not exist, so it writes nothing. A role without permission is
/// refused; otherwise the answer names the missing stream or group.
pub(super) async fn check(stream: &mut LogStream) -> Finding {
    let line = LogLine { time_ms: Timestamp::now().as_millisecond(), json: "{}" };
    let refused = stream.put(&[line]).await.err();
    let group = &stream.group;
    let accepted = || Finding::fine(format!("accepts lines for the log group {group}"));
    match refused {
        Some(error) if aws::code(&error) == Some("ResourceNotFoundException") => {
            let message = error.as_service_error().and_then(ProvideErrorMetadata::message);
            match message.is_some_and(|message| message.contains("group")) {
                true => Finding::warning(format!(
                    "there is no log group {group} yet: the first line creates it, if the \
                     function's role allows that"
                )),
                false => accepted(),
            }
        }
        Some(error) => {
            let error = aws::export_error(error);
            Finding::failed(&format!("a line for the log group {group}"), &error)
        }
        None => accepted(),
    }
}
