//! What the exporters to AWS share: the SDK on this process's own HTTP client, and what its errors
//! mean here.
//!
//! Retries, backoff and the breaker are the pipeline's, so the SDK's own are off. Credentials come
//! from where Lambda puts them: the environment, or with SnapStart a local address.

use std::{error::Error, time::Duration};

use aws_config::{
    BehaviorVersion, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider,
    meta::credentials::CredentialsProviderChain, provider_config::ProviderConfig,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::{ConnectorError, SdkError},
};
use aws_smithy_types::{
    body::SdkBody, error::metadata::ProvideErrorMetadata, retry::ReconnectMode,
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};

use super::{
    ExportError,
    http::{HttpClient, chain, readable},
};

/// OpenTelemetry's default for an exporter; the SDK has none.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Our choice: replies of writing calls are short.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// The region, endpoints and credentials that the SDK's own variables give (`AWS_REGION`,
/// `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`…). Opens nothing yet.
pub async fn sdk_config() -> SdkConfig {
    let connector = SharedHttpConnector::new(Connector(HttpClient::default()));
    let http = http_client_fn(move |_, _| connector.clone());
    let provider = ProviderConfig::without_region().with_http_client(http.clone());
    let environment = EnvironmentVariableCredentialsProvider::new();
    let container = EcsCredentialsProvider::builder().configure(&provider).build();
    aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(
            CredentialsProviderChain::first_try("environment", environment)
                .or_else("container", container),
        )
        .http_client(http)
        .retry_config(
            // Our client gives up broken connections itself.
            RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The code that AWS gave an error, such as `ThrottlingException`.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// An error as the pipeline understands it.
///
/// The services answer nearly everything with 400; what is meant gets the status of that meaning.
pub fn export_error<E>(error: SdkError<E, HttpResponse>) -> ExportError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Some(status) = error.raw_response().map(|reply| reply.status().as_u16()) else {
        return match error {
            SdkError::TimeoutError(_) => ExportError::Timeout(REQUEST_TIMEOUT),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                ExportError::Timeout(REQUEST_TIMEOUT)
            }
            error => ExportError::Unreachable(chain(&error)),
        };
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let code = code(&error).unwrap_or_default().to_owned();
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message);
    let said = said.map_or_else(|| chain(&error), str::to_owned);
    let status = match code.as_str() {
        "ThrottlingException"
        | "ThrottledException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded" => StatusCode::TOO_MANY_REQUESTS,
        _ if status.is_client_error() && said.contains("Rate exceeded") => {
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
    };
    let message = readable(format!("{code} {said}").trim().as_bytes());
    ExportError::Status { status, message, retry_after: None }
}

/// Our HTTP client, as the SDK wants one.
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
            let request = Request::from_parts(head, Full::<Bytes>::new(body));
            let reply = client.send(request, REQUEST_TIMEOUT, MAX_REPLY_BYTES).await;
            let reply = reply.map_err(|error| match error {
                ExportError::Timeout(_) => ConnectorError::timeout(error.into()),
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
