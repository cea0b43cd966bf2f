//! `GET /rollbar/test`: records a message for Rollbar, which shows that messages arrive there.

use opentelemetry::KeyValue;
use tracing::{Span, info, instrument};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    http::{ApiError, Request, Response, Route, user_key},
    runtime::App,
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/rollbar/test").store_connections(0);

/// The same words as text. The extension finds the span event and reports it as a warning.
///
/// For users only, because every call makes an item at Rollbar and the items of a plan are limited.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    user_key(&request, app.config().local.as_ref())?;
    let message = "Hello World!";
    report(&Span::current(), message);
    info!("Recorded a message for Rollbar");
    Ok(Response::html(message))
}

/// The event belongs to the request's span, with which it is reported.
#[instrument(name = "rollbar-test", skip_all, fields(app.message = message))]
fn report(request: &Span, message: &'static str) {
    let attributes = vec![KeyValue::new("level", "warning"), KeyValue::new("body", message)];
    request.add_event("rollbar.message", attributes);
}

#[cfg(test)]
mod tests {
    use lambda_runtime::Context;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::{config::Config, telemetry::Telemetry, test_support::FakeExtension};

    const EVENT: &str = include_str!("../../../events/rollbar-test.json");

    #[tokio::test]
    async fn the_message_is_an_event_of_the_server_span() {
        let extension = FakeExtension::start("200 OK");
        let endpoint = format!("http://{}", extension.address);
        let var = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone());
        let (telemetry, subscriber) = Telemetry::build(&Config::from_vars(var), std::io::sink);
        let _default = tracing::subscriber::set_default(subscriber);
        let app = App::new(Config::from_vars(|_| None));
        let request = Request::from_event(EVENT).unwrap();

        let invocation = async {
            telemetry.identify(&Context::default(), &ROUTE, Some(&request));
            handle(&app, Request::from_event(EVENT).unwrap()).await.unwrap()
        };
        let reply = telemetry.around(invocation).await;

        assert_eq!((reply.status_code(), reply.body()), (200, "Hello World!"));
        let spans = extension.spans();
        let event = &spans.last().unwrap().events[0];
        assert_eq!(event.name, "rollbar.message");
        let attributes = event.attributes.iter().map(|attribute| {
            let value = attribute.value.clone().and_then(|value| value.value);
            (attribute.key.as_str(), value)
        });
        let text = |text: &str| Some(Value::StringValue(text.to_owned()));
        let expected = [("level", text("warning")), ("body", text("Hello World!"))];
        assert_eq!(attributes.collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn without_a_user_it_is_refused_and_sends_nothing() {
        let event = include_str!("../../../events/rollbar-test-without-claims.json");
        let app = App::new(Config::from_vars(|_| None));

        let refused = handle(&app, Request::from_event(event).unwrap()).await.unwrap_err();

        assert_eq!(refused.status_and_code().1, "generic_401");
    }
}
