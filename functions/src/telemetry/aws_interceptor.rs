//! What goes with every call of AWS: our place in X-Ray's trace out, the call's id back.
//!
//! For a client of any service: `Config::from(&sdk_config).to_builder().interceptor(TracedCalls)`.

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

/// Joins the calls of a client to the span in which they are made: each attempt carries its id.
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
            span.set_attribute("server.address", host.to_owned());
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
            Span::current().set_attribute("aws.request_id", id.to_owned());
        }
        Ok(())
    }
}
