//! X-Ray's own API: PutTraceSegments for documents, `/v1/traces` for OTLP.
//! <https://docs.aws.amazon.com/xray/latest/api/API_PutTraceSegments.html>
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html>

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_xray::{
    Client,
    config::endpoint::{DefaultResolver, Params, ResolveEndpoint},
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde::Serialize;

use crate::client::aws::{
    REQUEST_TIMEOUT, SigningError, credentials, endpoint_override, export_error, json_body,
    sdk_config_on, signed_post,
};
use crate::client::http::{HttpClient, HttpReply, readable};
use crate::delivery::error::ExportError;
use crate::exporter::xray::segment::{Segment, SegmentRefusal};

/// Most documents of one call: X-Ray answers "Exceeding maximum segment count: 50" to more.
pub(super) const MAX_DOCUMENTS: usize = 50;

/// Most calls in flight: a thousand documents in a round trip. Each takes a connection and, for the body, up
/// to 4 MB; see `MAX_READY_BYTES`.
pub(super) const MAX_CALLS: usize = 20;

/// Most bytes of an answer to OTLP that are read. Its texts are short.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// Credentials are fetched again so long before they expire.
const CREDENTIALS_MARGIN: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(crate) struct XrayApi {
    /// Created for the first batch, so that a cold start does not wait for TLS and credentials.
    clients: Option<Box<XrayClients>>,
}

/// Both share the connections.
#[derive(Debug)]
struct XrayClients {
    sdk: Client,
    http: HttpClient,
    config: SdkConfig,
    credentials: Option<Credentials>,
    otlp_url: Option<String>,
}

impl XrayApi {
    fn clients(&mut self) -> &mut XrayClients {
        self.clients.get_or_insert_with(|| {
            let http = HttpClient::default();
            let config = sdk_config_on(http.clone());
            let sdk = Client::new(&config);
            Box::new(XrayClients { sdk, http, config, credentials: None, otlp_url: None })
        })
    }

    /// Sends each part in a call, all at once.
    pub(super) async fn put_segments(
        &mut self,
        parts: &[Vec<Segment>],
    ) -> Vec<Result<Vec<SegmentRefusal>, ExportError>> {
        let client = &self.clients().sdk;
        join_all(parts.iter().map(|part| put(client, part))).await
    }

    /// Posts an encoded export request of OTLP.
    pub(super) async fn post_spans(&mut self, body: Bytes) -> Result<HttpReply, ExportError> {
        self.clients().post_spans(body).await
    }

    /// Segments go to the same host.
    pub(super) async fn otlp_url(&mut self) -> Result<String, ExportError> {
        self.clients().otlp_url().await
    }

    pub(super) fn reset_connections(&mut self) {
        self.clients = None;
    }
}

/// The request of PutTraceSegments.
#[derive(Serialize)]
struct PutSegments<'a> {
    #[serde(rename = "TraceSegmentDocuments")]
    documents: Vec<&'a str>,
}

async fn put(client: &Client, documents: &[Segment]) -> Result<Vec<SegmentRefusal>, ExportError> {
    let bytes = documents.iter().map(|document| document.json.len() * 5 / 4 + 8).sum();
    let documents = documents.iter().map(|document| document.json.as_str()).collect();
    let set_body = json_body(&PutSegments { documents }, bytes);
    let call = client.put_trace_segments().set_trace_segment_documents(Some(Vec::new()));
    let reply = call
        .customize()
        .mutate_request(set_body)
        .send()
        .await
        .map_err(|error| with_advice(export_error(error)))?;
    let refusals = reply.unprocessed_trace_segments.unwrap_or_default().into_iter();
    Ok(refusals
        .map(|refused| SegmentRefusal {
            id: refused.id,
            code: refused.error_code.unwrap_or_default(),
            message: readable(refused.message.unwrap_or_default().as_bytes()),
        })
        .collect())
}

fn with_advice(mut error: ExportError) -> ExportError {
    if let ExportError::Status { status: StatusCode::FORBIDDEN, message, .. } = &mut error {
        message.push_str("; the function's role needs xray:PutTraceSegments");
    }
    error
}

impl XrayClients {
    /// The body is not compressed: see `otlp/calls.rs`.
    async fn post_spans(&mut self, body: Bytes) -> Result<HttpReply, ExportError> {
        let url = self.otlp_url().await?;
        let credentials = self.credentials().await.map_err(unsigned)?;
        let region = self.config.region().map_or("", |region| region.as_ref());
        let headers = [("content-type", "application/x-protobuf")];
        let request = signed_post(&credentials, ("xray", region), &url, &headers, body);
        let request = request.map_err(unsigned)?;
        let reply = self.http.send(request, REQUEST_TIMEOUT, MAX_REPLY_BYTES).await?;
        if reply.status == StatusCode::FORBIDDEN {
            self.credentials = None;
        }
        Ok(reply)
    }

    async fn otlp_url(&mut self) -> Result<String, ExportError> {
        match &self.otlp_url {
            Some(url) => Ok(url.clone()),
            None => Ok(self.otlp_url.insert(otlp_url(&self.config).await?).clone()),
        }
    }

    async fn credentials(&mut self) -> Result<Credentials, SigningError> {
        let soon = SystemTime::now() + CREDENTIALS_MARGIN;
        let is_fresh = |it: &&Credentials| it.expiry().is_none_or(|expiry| expiry > soon);
        match self.credentials.as_ref().filter(is_fresh) {
            Some(credentials) => Ok(credentials.clone()),
            None => Ok(self.credentials.insert(credentials(&self.config).await?).clone()),
        }
    }
}

fn unsigned(error: SigningError) -> ExportError {
    let reason = match error {
        SigningError::CredentialsUnreachable(reason) => return ExportError::Unreachable(reason),
        SigningError::NoCredentials => {
            "there are no credentials: AWS_ACCESS_KEY_ID and its like".to_owned()
        }
        SigningError::Unsignable(reason) => reason,
    };
    ExportError::NoKey { reason, is_unreachable: false }
}

/// By the SDK's rules for Region, FIPS, dual stack and endpoint variables.
async fn otlp_url(config: &SdkConfig) -> Result<String, ExportError> {
    let wrong = |reason: String| ExportError::NoKey { reason, is_unreachable: false };
    let parameters = Params::builder()
        .set_region(config.region().map(|region| region.to_string()))
        .set_use_fips(config.use_fips())
        .set_use_dual_stack(config.use_dual_stack())
        .set_endpoint(endpoint_override(config, "AWS_ENDPOINT_URL_XRAY"))
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let resolver = DefaultResolver::new();
    let endpoint = ResolveEndpoint::resolve_endpoint(&resolver, &parameters).await;
    let endpoint = endpoint.map_err(|error| wrong(error.to_string()))?;
    Ok(format!("{}/v1/traces", endpoint.url().trim_end_matches('/')))
}
