//! What goes with every call of AWS: our place in X-Ray's trace out, the call's id back.
//!
//! For a client of any service: `Config::from(&sdk_config).to_builder().interceptor(TracedCalls)`.
//! A span with many calls makes them within [`describing_last_attempt`].

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
        },
    },
    error::BoxError,
};
use http::Uri;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace;

/// AWS knows this header, not `traceparent`. The SDK itself would send the runtime's own value on,
/// as if Lambda and not our span had called; it leaves alone what is there.
const TRACE_HEADER: &str = "x-amzn-trace-id";

/// Where services put the id of a request: most, then the older ones.
const REQUEST_ID_HEADERS: [&str; 2] = ["x-amzn-requestid", "x-amz-request-id"];

tokio::task_local! {
    static LAST_ATTEMPT: Arc<Mutex<Attempt>>;
}

/// The last attempt of a span's calls.
///
/// The SDK keeps 128 attributes of a span, and each `set_attribute` counts. A span with hundreds of
/// attempts would lose its outcome and its cost, so their attributes are set once, at the end.
#[derive(Debug, Default)]
struct Attempt {
    server_address: Option<String>,
    request_id: Option<String>,
}

impl Attempt {
    fn describe(&self, span: &Span) {
        if let Some(host) = &self.server_address {
            span.set_attribute("server.address", host.clone());
        }
        if let Some(id) = &self.request_id {
            span.set_attribute("aws.request_id", id.clone());
        }
    }
}

/// Sets the last attempt's attributes on a span, also where the calls are cut off.
struct DescribeOnDrop {
    span: Span,
    attempt: Arc<Mutex<Attempt>>,
}

impl Drop for DescribeOnDrop {
    fn drop(&mut self) {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).describe(&self.span);
    }
}

/// Runs calls of AWS in the current span, which gets the attributes of their last attempt once.
pub async fn describing_last_attempt<F: Future>(calls: F) -> F::Output {
    let attempt = Arc::new(Mutex::new(Attempt::default()));
    let _describe = DescribeOnDrop { span: Span::current(), attempt: attempt.clone() };
    LAST_ATTEMPT.scope(attempt, calls).await
}

/// Outside [`describing_last_attempt`] the current span gets the attributes at once.
fn describe(change: impl FnOnce(&mut Attempt)) {
    let mut change = Some(change);
    let noted = LAST_ATTEMPT.try_with(|attempt| {
        let mut attempt = attempt.lock().unwrap_or_else(PoisonError::into_inner);
        change.take().into_iter().for_each(|change| change(&mut attempt));
    });
    if let (Err(_), Some(change)) = (noted, change) {
        let mut attempt = Attempt::default();
        change(&mut attempt);
        attempt.describe(&Span::current());
    }
}

/// Joins the calls of a client to the span in which they are made, which names the last attempt.
/// Attributes by <https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/>.
#[derive(Debug)]
pub struct TracedCalls;

impl Intercept for TracedCalls {
    fn name(&self) -> &'static str {
        "TracedCalls"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let span = Span::current();
        let request = context.request_mut();
        if let Some(header) = trace::outgoing_xray_header(&span) {
            request.headers_mut().try_insert(TRACE_HEADER, header)?;
        }
        if let Ok(uri) = request.uri().parse::<Uri>()
            && let Some(host) = uri.host()
        {
            describe(|attempt| attempt.server_address = Some(host.to_owned()));
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        if let Some(id) = REQUEST_ID_HEADERS.into_iter().find_map(|name| headers.get(name)) {
            describe(|attempt| attempt.request_id = Some(id.to_owned()));
        }
        Ok(())
    }
}
