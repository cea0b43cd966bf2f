//! Checks AWS signatures of version 4 as a service does: the scope, the token, the time, and the
//! signature over headers and body.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::fake::Recorded;
use crate::sandbox::environment::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN};

/// Most difference between the clocks of both sides.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// Headers that a signer computes; the others are a part of the request.
const COMPUTED: [&str; 4] = ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// An error code of AWS, and its message.
pub(crate) type Refusal = (&'static str, String);

/// Checks a request to a service with the sandbox's credentials, at the service's time.
pub(crate) fn check(request: &Recorded, service: &str, now: SystemTime) -> Result<(), Refusal> {
    let wrong = |reason: &str| ("InvalidSignatureException", reason.to_owned());
    let authorization = request.header("authorization").unwrap_or_default();
    let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ");
    let missing =
        ("MissingAuthenticationTokenException", "Missing Authentication Token".to_owned());
    let parts: BTreeMap<&str, &str> =
        parts.ok_or(missing)?.split(", ").filter_map(|part| part.split_once('=')).collect();
    let part = |name: &str| parts.get(name).copied().unwrap_or_default();
    let date = request.header("x-amz-date").unwrap_or_default();
    let scope = format!(
        "{ACCESS_KEY_ID}/{}/{REGION}/{service}/aws4_request",
        date.get(..8).unwrap_or_default()
    );
    if part("Credential") != scope {
        return Err(wrong(&format!("Credential should be scoped to {scope}")));
    }
    if request.header("x-amz-security-token") != Some(SESSION_TOKEN) {
        let reason = "The security token included in the request is invalid.";
        return Err(("UnrecognizedClientException", reason.to_owned()));
    }
    let signed_at = time(date).ok_or_else(|| wrong("Date must be in ISO-8601 basic format"))?;
    if signed_at + MAX_SKEW < now {
        return Err(wrong(&format!("Signature expired: {date} is now earlier than 5 min. ago")));
    }
    if signed_at > now + MAX_SKEW {
        return Err(wrong(&format!("Signature not yet current: {date} is still later")));
    }
    let signed: Vec<&str> = part("SignedHeaders").split(';').collect();
    if !["host", "x-amz-date", "x-amz-security-token"].iter().all(|name| signed.contains(name)) {
        return Err(wrong("a header must be signed that is not"));
    }
    match signature(request, service, &signed, signed_at) == part("Signature") {
        true => Ok(()),
        false => Err(wrong("The request signature we calculated does not match")),
    }
}

/// The signature that the sandbox's key gives.
fn signature(request: &Recorded, service: &str, signed: &[&str], at: SystemTime) -> String {
    let token = Some(SESSION_TOKEN.to_owned());
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, token, None, "test");
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .expect("all parameters");
    let names = signed.iter().filter(|name| !COMPUTED.contains(name));
    let headers = names.filter_map(|name| Some((*name, request.header(name)?)));
    let url = format!("http://{}{}", request.header("host").unwrap_or_default(), request.path);
    let body = SignableBody::Bytes(&request.body);
    let signable = SignableRequest::new(request.method.as_str(), url, headers, body);
    let signed = sign(signable.expect("a well-formed request"), &parameters.into());
    signed.expect("a signature").signature().to_owned()
}

/// Reads `20261130T101500Z`.
fn time(text: &str) -> Option<SystemTime> {
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}
