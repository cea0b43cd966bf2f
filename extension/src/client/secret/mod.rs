//! Keys from a variable, or from a store of AWS, fetched at the first use.
//!
//! | `…_SECRET` is | the key is |
//! |---|---|
//! | `arn:aws:secretsmanager:…:secret:NAME` | that secret of Secrets Manager |
//! | `arn:aws:secretsmanager:…:secret:NAME:FIELD` | a field of that secret, which is JSON |
//! | `arn:aws:ssm:…:parameter/NAME`, `/NAME`, `NAME` | that parameter of the Parameter Store, decrypted |
//!
//! A fetched key is kept for the life of the process and fetched again after a destination rejects
//! it. Keys are never printed.
//!
//! Each service needs one call, which is signed here: the two SDKs would add hundreds of operations
//! to the binary.

use std::{fmt, time::Duration};

use aws_config::SdkConfig;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::aws::{self, SigningError};
use crate::client::http::{HttpClient, HttpReply, readable, without_query};
use crate::delivery::error::ExportError;
use crate::settings::{Reader, Rejected};

/// Both services answer in milliseconds, so five seconds mean an outage.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A secret has 64 KiB at most, and JSON makes it longer.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const MAX_REPLY_BYTES: usize = 512 << 10;

/// The source of a key. `Debug` does not print the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Inline(HeaderValue),
    Remote(RemoteSecret),
}

/// The place of a key in Secrets Manager or the Parameter Store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSecret {
    service: SecretService,
    id: String,
    /// The JSON field of the secret that holds the key.
    field: Option<String>,
    /// The ARN's region, else the function's.
    region: Option<String>,
    /// A base URL that replaces AWS's own.
    endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecretService {
    SecretsManager,
    ParameterStore,
}

/// Why a key is missing. Shows names, never values.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Region, credentials or endpoint are missing or wrong.
    #[error("{0}")]
    Misconfigured(String),
    #[error("asking {name} failed: {source}")]
    Unreachable { name: String, source: Box<ExportError> },
    /// The service answered without a usable key.
    #[error("{0}")]
    Refused(String),
}

impl SecretSource {
    /// Reads the key itself from the variable `inline`, or the place where AWS keeps it from `remote`.
    pub fn read(
        reader: &mut Reader<'_>,
        inline: &'static str,
        remote: &'static str,
    ) -> Result<Option<Self>, Rejected> {
        if reader.get(inline).is_some() {
            return reader.parsed(inline, key).map(|key| Some(Self::Inline(key))).ok_or(Rejected);
        }
        let Some(text) = reader.get(remote) else { return Ok(None) };
        match RemoteSecret::parse(&text, reader.region(), |name| reader.get(name)) {
            Ok(secret) => Ok(Some(Self::Remote(secret))),
            Err(reason) => {
                reader.reject(remote, reason);
                Err(Rejected)
            }
        }
    }
}

impl From<SecretError> for ExportError {
    fn from(error: SecretError) -> Self {
        let is_unreachable = matches!(error, SecretError::Unreachable { .. });
        Self::NoKey { reason: error.to_string(), is_unreachable }
    }
}

/// A key, fetched at its first use.
#[derive(Debug)]
pub struct Secret {
    source: SecretSource,
    fetched: Option<HeaderValue>,
}

impl Secret {
    pub fn new(source: SecretSource) -> Self {
        Self { source, fetched: None }
    }

    pub async fn get(&mut self) -> Result<HeaderValue, SecretError> {
        match (&self.source, &self.fetched) {
            (SecretSource::Inline(key), _) | (SecretSource::Remote(_), Some(key)) => {
                Ok(key.clone())
            }
            (SecretSource::Remote(stored), None) => {
                let key = stored.fetch().await?;
                Ok(self.fetched.insert(key).clone())
            }
        }
    }

    /// Fetches the key again after a rejection. False if it is unchanged.
    pub async fn renew(&mut self) -> Result<bool, SecretError> {
        let SecretSource::Remote(stored) = &self.source else { return Ok(false) };
        let key = stored.fetch().await?;
        Ok(self.fetched.replace(key.clone()) != Some(key))
    }
}

/// Makes a header value that does not print itself. Surrounding white space is trimmed; the error
/// does not show the key.
pub fn key(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty".into());
    }
    // Keys are ASCII; some servers reject other header values.
    let value = HeaderValue::from_str(text).ok().filter(|value| value.to_str().is_ok());
    let mut value = value.ok_or("holds a character that no HTTP header can carry")?;
    value.set_sensitive(true);
    Ok(value)
}

impl RemoteSecret {
    /// Parses a variable's value. `region` is the function's own; `variable` reads endpoint overrides.
    pub fn parse(
        text: &str,
        region: Option<String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        if looks_like_key(text) {
            return Err("is to say where AWS keeps the key, and seems to be a key".into());
        }
        let parts: Vec<&str> = text.splitn(7, ':').collect();
        let (service, id, field, region) = match parts[..] {
            ["arn", _, "secretsmanager" | "ssm", "", ..] => {
                return Err("is an ARN without a region".into());
            }
            ["arn", _, "secretsmanager", region, _, "secret", rest] if !rest.is_empty() => {
                // The name may be followed by a field, a stage and a version.
                let mut rest_parts = rest.split(':');
                let name = rest_parts.next().unwrap_or_default();
                let field = rest_parts.next().filter(|field| !field.is_empty());
                if rest_parts.any(|part| !part.is_empty()) {
                    return Err("asks for a version: only the current one is read".into());
                }
                let arn = text.len() - rest.len() + name.len();
                (SecretService::SecretsManager, &text[..arn], field, Some(region.to_owned()))
            }
            ["arn", _, "ssm", region, _, name] if name.starts_with("parameter/") => {
                (SecretService::ParameterStore, text, None, Some(region.to_owned()))
            }
            ["arn", ..] => return Err("is the ARN of neither a secret nor a parameter".into()),
            _ => (SecretService::ParameterStore, text, None, region),
        };
        let endpoint = variable(service.endpoint_variable());
        Ok(Self {
            service,
            id: id.to_owned(),
            field: field.map(str::to_owned),
            region,
            endpoint: endpoint.or_else(|| variable("AWS_ENDPOINT_URL")),
        })
    }

    async fn fetch(&self) -> Result<HeaderValue, SecretError> {
        let region = self.region.as_deref().ok_or_else(|| {
            SecretError::Misconfigured(format!(
                "{self} cannot be looked up without a region: set AWS_REGION, or give its ARN"
            ))
        })?;
        let request = self.request(region, &aws::sdk_config()).await?;
        let reply = HttpClient::default().send(request, REQUEST_TIMEOUT, MAX_REPLY_BYTES).await;
        let (url, service) = (self.url(region), self.service.name());
        let name = format!("{service} at {}", without_query(&url));
        let foreign = format!("at {} is not {service}", without_query(&url));
        let reply = reply.map_err(|error| match error {
            ExportError::ForeignReply(_) => SecretError::Misconfigured(foreign.clone()),
            ExportError::Misconfigured(reason) => SecretError::Misconfigured(reason),
            error => SecretError::Unreachable { name, source: Box::new(error) },
        })?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if !reply.status.is_success() {
            return Err(self.refusal(reply, &body));
        }
        if !body.is_object() {
            return Err(SecretError::Misconfigured(foreign));
        }
        self.key_in(&body).map_err(|problem| SecretError::Refused(format!("{self} {problem}")))
    }

    async fn request(
        &self,
        region: &str,
        config: &SdkConfig,
    ) -> Result<Request<Full<Bytes>>, SecretError> {
        let misconfigured = |error: String| SecretError::Misconfigured(error);
        let url = self.url(region);
        let body = Bytes::from(self.service.question(&self.id).to_string());
        let headers = [
            (header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.1"),
            ("x-amz-target", self.service.target()),
        ];
        let unsigned = |error| match error {
            SigningError::NoCredentials => misconfigured(format!(
                "{self} cannot be looked up without credentials: AWS_ACCESS_KEY_ID and its like"
            )),
            SigningError::CredentialsUnreachable(error) | SigningError::Unsignable(error) => {
                misconfigured(format!("{self} cannot be looked up: {error}"))
            }
        };
        let credentials = aws::credentials(config).await.map_err(unsigned)?;
        let scope = (self.service.signing_name(), region);
        aws::signed_post(&credentials, scope, &url, &headers, body).map_err(unsigned)
    }

    fn url(&self, region: &str) -> String {
        // <https://docs.aws.amazon.com/general/latest/gr/asm.html>
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        let host = self.service.signing_name();
        let own = || format!("https://{host}.{region}.amazonaws.com{china}");
        let base = self.endpoint.clone().unwrap_or_else(own);
        format!("{}/", base.trim_end_matches('/'))
    }

    /// The key in a successful answer, or the problem with the stored value.
    fn key_in(&self, answer: &Value) -> Result<HeaderValue, String> {
        let text = match self.service {
            SecretService::SecretsManager => &answer["SecretString"],
            SecretService::ParameterStore => &answer["Parameter"]["Value"],
        };
        let text = text.as_str().ok_or("is binary: a key is text")?;
        let json = serde_json::from_str::<Value>(text).ok();
        let json = json.filter(|json| json.is_object() || json.is_array());
        let Some(field) = &self.field else {
            return match (json, self.service) {
                (None, _) => key(text),
                (Some(_), SecretService::SecretsManager) => {
                    Err("is JSON: name the field behind its ARN".into())
                }
                (Some(_), SecretService::ParameterStore) => {
                    Err("is JSON: a key is plain text".into())
                }
            };
        };
        match json.ok_or("is not JSON")?.get(field) {
            Some(Value::String(text)) => key(text).map_err(|why| format!("{why} in {field:?}")),
            Some(_) => Err(format!("has no text in its field {field:?}")),
            None => Err(format!("has no field {field:?}")),
        }
    }

    fn refusal(&self, HttpReply { status, body, .. }: HttpReply, answer: &Value) -> SecretError {
        let kind = answer["__type"].as_str().and_then(|kind| kind.rsplit('#').next());
        let reason = answer["message"].as_str().or(answer["Message"].as_str());
        let reason = readable(reason.map_or(&body[..], str::as_bytes));
        let is_busy = kind.is_some_and(|kind| kind.contains("Throttl") || kind.contains("TooMany"));
        if is_busy || status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let message = format!("{} {reason}", kind.unwrap_or_default()).trim().to_owned();
            let source = Box::new(ExportError::Status { status, message, retry_after: None });
            return SecretError::Unreachable { name: self.service.name().to_owned(), source };
        }
        SecretError::Refused(match kind {
            Some("ResourceNotFoundException" | "ParameterNotFound") => {
                format!("{self} does not exist in this account and region")
            }
            Some("InvalidRequestException") => format!("{self} cannot be read: {reason}"),
            Some("DecryptionFailure" | "InvalidKeyId") => {
                format!("{self} cannot be decrypted: {reason}")
            }
            kind if status == StatusCode::FORBIDDEN
                || kind.is_some_and(|kind| kind.starts_with("AccessDenied")) =>
            {
                let action = self.service.action();
                format!(
                    "{self} may not be read: allow {action} and, for a key of your own, \
                     kms:Decrypt ({reason})"
                )
            }
            kind => format!("{self} was not read: {status} {} {reason}", kind.unwrap_or_default()),
        })
    }
}

/// Whether the value is a key instead of the place of one, by the forms of Honeycomb's and Rollbar's
/// keys: `hcaik_…` and `hcaic_…` with any third letter, or 32 hex digits and more. Such a value must not
/// be printed.
fn looks_like_key(text: &str) -> bool {
    let is_ingest =
        matches!(text.as_bytes(), [b'h', b'c', b'a'..=b'z', b'i', b'k' | b'c', b'_', ..]);
    is_ingest || text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for RemoteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.service {
            SecretService::SecretsManager => "the secret",
            SecretService::ParameterStore => "the parameter",
        };
        write!(f, "{what} {}", self.id)
    }
}

impl SecretService {
    fn name(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::ParameterStore => "the Parameter Store",
        }
    }

    fn signing_name(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssm",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager.GetSecretValue",
            Self::ParameterStore => "AmazonSSM.GetParameter",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager:GetSecretValue",
            Self::ParameterStore => "ssm:GetParameter",
        }
    }

    fn question(self, id: &str) -> Value {
        match self {
            Self::SecretsManager => json!({ "SecretId": id }),
            Self::ParameterStore => json!({ "Name": id, "WithDecryption": true }),
        }
    }

    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Self::ParameterStore => "AWS_ENDPOINT_URL_SSM",
        }
    }
}

#[cfg(test)]
mod tests;
