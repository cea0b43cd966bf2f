//! The AWS SDK on this process's own HTTP client, and the SDK's errors as [`ExportError`]s.
//!
//! The pipeline retries and backs off, so the SDK's own retries are off. Credentials come from the
//! environment or, with SnapStart, from a local address that Lambda names.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider,
    meta::credentials::CredentialsProviderChain, provider_config::ProviderConfig,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::{ConnectorError, SdkError},
};
use aws_smithy_types::{
    body::SdkBody, error::metadata::ProvideErrorMetadata, retry::ReconnectMode,
};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use crate::client::http::{HttpClient, USER_AGENT, chain, pause, readable};
use crate::delivery::error::ExportError;

/// The default of OpenTelemetry's exporters. The SDK sets no limit.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Far above the replies of the calls used here, which only write.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// Region, endpoints and credentials from the SDK's own variables (`AWS_REGION`,
/// `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`…). Opens no connection.
///
/// `aws_config`'s loader is not used: it also reads profiles, single sign-on, web identities and the
/// instance's metadata, which Lambda does not have, and adds a megabyte to the binary.
pub fn sdk_config() -> SdkConfig {
    sdk_config_on(HttpClient::default())
}

/// The same on the connections of this client.
pub fn sdk_config_on(client: HttpClient) -> SdkConfig {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_set = |name: &str| var(name).map(|value| value.eq_ignore_ascii_case("true"));
    let connector = SharedHttpConnector::new(Connector(client));
    let http = http_client_fn(move |_, _| connector.clone());
    let provider = ProviderConfig::without_region().with_http_client(http.clone());
    let credentials = CredentialsProviderChain::first_try(
        "environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("container", EcsCredentialsProvider::builder().configure(&provider).build());
    let mut config = SdkConfig::builder();
    config
        .set_region(var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION")).map(Region::new))
        .set_endpoint_url(var("AWS_ENDPOINT_URL"))
        .set_use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
        .set_use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"));
    config
        .behavior_version(BehaviorVersion::latest())
        .service_config(EndpointVariables)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .time_source(SystemTimeSource::new())
        .sleep_impl(TokioSleep::new())
        .retry_config(
            // The HTTP client drops broken connections itself.
            RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// Replaces a request's body by this JSON, of about so many bytes. The SDK's own writer copies each text
/// twice and escapes it byte by byte, a tenth of a log line's CPU time.
pub fn json_body(
    body: &impl Serialize,
    bytes: usize,
) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    let mut json = Vec::with_capacity(bytes);
    let _ = serde_json::to_writer(&mut json, body); // fails for no body of texts and numbers
    let json = Bytes::from(json);
    move |request| {
        request.headers_mut().insert("content-length", json.len().to_string());
        *request.body_mut() = json.clone().into();
    }
}

/// The variables `AWS_ENDPOINT_URL_XRAY` and the like.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
#[derive(Debug)]
struct EndpointVariables;

impl LoadServiceConfig for EndpointVariables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace([' ', '-'], "_");
        std::env::var(format!("{}_{service}", key.env())).ok().filter(|url| !url.is_empty())
    }
}

/// The endpoint that a variable of the service, or of all services, sets in place of AWS's own.
pub fn endpoint_override(config: &SdkConfig, service_variable: &str) -> Option<String> {
    let own = std::env::var(service_variable).ok().filter(|url| !url.is_empty());
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Why a request has no signature.
#[derive(Debug)]
pub enum SigningError {
    NoCredentials,
    /// The address that keeps the credentials did not answer.
    CredentialsUnreachable(String),
    /// An address or header is wrong.
    Unsignable(String),
}

pub async fn credentials(config: &SdkConfig) -> Result<Credentials, SigningError> {
    let provider = config.credentials_provider().ok_or(SigningError::NoCredentials)?;
    provider.provide_credentials().await.map_err(|error| match error {
        CredentialsError::CredentialsNotLoaded(_) => SigningError::NoCredentials,
        error => SigningError::CredentialsUnreachable(chain(&error)),
    })
}

/// A POST with an AWS signature of version 4 over its body and these headers.
pub fn signed_post(
    credentials: &Credentials,
    (service, region): (&str, &str),
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, SigningError> {
    let unsignable = |error: &dyn fmt::Display| SigningError::Unsignable(error.to_string());
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsignable(&error))?;
    let signed = headers.iter().copied();
    let signable = SignableRequest::new("POST", url, signed, SignableBody::Bytes(&body))
        .map_err(|error| unsignable(&error))?;
    let signature = sign(signable, &parameters.into()).map_err(|error| unsignable(&error))?;
    let mut request = Request::post(url).header(header::USER_AGENT, USER_AGENT);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Full::new(body)).map_err(|error| unsignable(&error))?;
    signature.into_parts().0.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// AWS's error code, such as `ThrottlingException`.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Maps an SDK error to an [`ExportError`].
pub fn export_error<E>(error: SdkError<E, HttpResponse>) -> ExportError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Some(status) = error.raw_response().map(|reply| reply.status().as_u16()) else {
        if let Some(reason) = misconfiguration(&error) {
            return ExportError::Misconfigured(reason);
        }
        return match error {
            error if has_no_credentials(&error) => ExportError::NoKey {
                reason: "there are no credentials: AWS_ACCESS_KEY_ID and its like".to_owned(),
                is_unreachable: false,
            },
            // The request's values are valid, so its address is not.
            SdkError::ConstructionFailure(_) => ExportError::NoKey {
                reason: format!("there is no address to ask, see AWS_REGION: {}", chain(&error)),
                is_unreachable: false,
            },
            SdkError::TimeoutError(_) => ExportError::Timeout(REQUEST_TIMEOUT),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                ExportError::Timeout(REQUEST_TIMEOUT)
            }
            error => ExportError::Unreachable(chain(&error)),
        };
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let code = code(&error).unwrap_or_default().to_owned();
    let reason = error.as_service_error().and_then(ProvideErrorMetadata::message);
    let reason = reason.map_or_else(|| chain(&error), str::to_owned);
    let status = status_by_code(&code, status, &reason);
    let message = readable(format!("{code} {reason}").trim().as_bytes());
    let headers = error.raw_response().map(|reply| reply.headers());
    let retry_after = headers.and_then(|headers| headers.get("retry-after"));
    let retry_after = retry_after.and_then(|value| pause(value, SystemTime::now()));
    ExportError::Status { status, message, retry_after }
}

/// The status that fits AWS's error code, since the services answer most errors with 400.
pub fn status_by_code(code: &str, status: StatusCode, reason: &str) -> StatusCode {
    match code {
        "ThrottlingException"
        | "ThrottledException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded" => StatusCode::TOO_MANY_REQUESTS,
        _ if status.is_client_error() && reason.contains("Rate exceeded") => {
            StatusCode::TOO_MANY_REQUESTS
        }
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException"
        | "ExpiredToken" => StatusCode::FORBIDDEN,
        "ServiceUnavailableException" => StatusCode::SERVICE_UNAVAILABLE,
        _ => status,
    }
}

/// Whether the request was not sent because no credentials were found.
fn has_no_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |&error| error.source());
    errors.any(|error| {
        matches!(error.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_)))
    })
}

/// The reason for which the client sends nothing to this destination.
fn misconfiguration(error: &(dyn Error + 'static)) -> Option<String> {
    let mut errors = std::iter::successors(Some(error), |&error| error.source());
    errors.find_map(|error| match error.downcast_ref() {
        Some(ExportError::Misconfigured(reason)) => Some(reason.clone()),
        _ => None,
    })
}

/// Adapts [`HttpClient`] to the SDK.
#[derive(Clone, Debug)]
struct Connector(HttpClient);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self(client) = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x();
            let request = request.map_err(|error| ConnectorError::user(error.into()))?;
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
            let host = head.uri.host().unwrap_or_default().to_owned(); // contains the Region
            let request = Request::from_parts(head, Full::<Bytes>::new(body));
            let reply = client.send(request, REQUEST_TIMEOUT, MAX_REPLY_BYTES).await;
            let reply = reply.map_err(|error| match error {
                ExportError::Timeout(_) => ConnectorError::timeout(error.into()),
                ExportError::Unreachable(reason) => {
                    ConnectorError::io(format!("{host}: {reason}").into())
                }
                error @ ExportError::Misconfigured(_) => ConnectorError::user(error.into()),
                error => ConnectorError::io(error.into()),
            })?;
            let mut response = http::Response::new(SdkBody::from(reply.body));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    #[test]
    fn a_service_may_ask_to_be_left_alone_for_a_while() {
        let mut reply = HttpResponse::new(503.try_into().unwrap(), SdkBody::empty());
        reply.headers_mut().insert("retry-after", "7");
        let error = ErrorMetadata::builder().code("SlowDown").build();

        let error = export_error(SdkError::service_error(error, reply));

        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{error}");
    }
}
