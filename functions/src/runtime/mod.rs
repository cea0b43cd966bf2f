//! The runtime loop: takes an event, answers it, and sends the telemetry once the reply is posted.

mod app;
#[cfg(feature = "local")]
mod faults;

use std::{convert::Infallible, io::Write, path::Path};

use http::Method;
use lambda_runtime::{
    Context, Error, LambdaEvent, LambdaInvocation, Runtime, service_fn,
    tower::{ServiceExt, layer::layer_fn},
};
use serde_json::{Value, value::RawValue};

use crate::{
    config::{Config, Local},
    deadline,
    http::{ApiError, ReplyForm, Request, Response, Route, cors, user_key},
    panics,
    telemetry::{AccessLog, Telemetry},
};

pub use app::App;

/// Runs a function until Lambda ends it: `handle` answers each request of `route`. Where
/// `AWS_LAMBDA_MAX_CONCURRENCY` is above 1, as on a managed instance, so many requests run at once.
///
/// Fails only if the Runtime API cannot be reached. Whatever an event holds and whatever the
/// handler does, panics included, is answered with a reply of ours, and the next event is fine.
pub async fn run<Handled>(
    route: Route,
    handle: impl Fn(&'static App, Request) -> Handled + Clone + Send + Sync + 'static,
) -> Result<(), Error>
where
    Handled: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    if let Some(help) = outside_lambda(&route, |name| std::env::var(name).ok()) {
        writeln!(std::io::stderr(), "{help}")?;
        std::process::exit(2);
    }
    let config = Config::from_vars(|name| std::env::var(name).ok());
    // Both live as long as the process. The tasks of concurrent requests share them.
    let telemetry: &'static Telemetry = Box::leak(Box::new(Telemetry::start(&config)));
    let app: &'static App = Box::leak(Box::new(App::new(config)));
    app.connect(route.store_connections).await;
    // The raw event: what cannot become a request is answered too, by `answer`, not by the library.
    let service = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let (local, handle) = (app.config().local.as_ref(), handle.clone());
        answer(telemetry, route, local, event, move |request| handle(app, request))
    });
    // The inner service posts the reply to the Runtime API; what comes after it, the client does
    // not wait for, but the runtime's next request for work does.
    let telemetry_after_reply = layer_fn(|posting_replies| {
        let answering_all = ServiceExt::map_request(posting_replies, as_json);
        ServiceExt::map_future(answering_all, move |reply_posted| telemetry.around(reply_posted))
    });
    Runtime::new(service).layer(telemetry_after_reply).run_concurrent().await
}

/// Help for a program that a person starts alone: Lambda and the emulator set both variables.
fn outside_lambda(route: &Route, var: impl Fn(&str) -> Option<String>) -> Option<String> {
    if ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME"].map(var).iter().all(Option::is_some) {
        return None;
    }
    let program = std::env::args().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    Some(format!(
        "{name} answers {} {} as a Lambda function, so it needs Lambda or an emulator.\n\
         Start the emulator with `make run`; \
         then: cargo lambda invoke -A 127.0.0.1 {name} --data-file events/{name}.json",
        route.methods[0], route.path
    ))
}

/// Wraps an event that is not JSON in a JSON string, because the runtime would answer it with an
/// error outside our format.
fn as_json(mut invocation: LambdaInvocation) -> LambdaInvocation {
    if serde_json::from_slice::<&RawValue>(&invocation.body).is_err() {
        let text = String::from_utf8_lossy(&invocation.body).into_owned();
        invocation.body = Value::from(text).to_string().into();
    }
    invocation
}

async fn answer<Handled>(
    telemetry: &Telemetry,
    route: Route,
    local: Option<&Local>,
    event: LambdaEvent<Box<RawValue>>,
    handle: impl FnOnce(Request) -> Handled,
) -> Result<Response, Infallible>
where
    Handled: Future<Output = Result<Response, ApiError>>,
{
    let route = &route;
    let request = Request::from_event(event.payload.get());
    telemetry.identify(&event.context, route, request.as_ref().ok());
    telemetry.identify_execution(event.payload.get());
    let user = request.as_ref().ok().and_then(|request| user_key(request, local).ok());
    if let Some(user) = user {
        telemetry.identify_user(user);
    }
    let access = AccessLog::of(route, request.as_ref().ok(), user);
    let form = ReplyForm::of(route, request.as_ref().ok());
    let outcome = match request {
        Ok(request) if local.is_some() && request.method() == Method::OPTIONS => {
            Ok(cors::preflight())
        }
        Ok(request) => serve(route, &event.context, request, handle).await,
        Err(error) => Err(error),
    };
    let (reply, error) = match outcome {
        Ok(reply) => (reply, None),
        Err(error) => (error.reply(), Some(error)),
    };
    let reply = form.apply(telemetry.name_trace(reply), error.as_ref());
    telemetry.conclude(&reply, error.as_ref());
    access.log(&reply, error.as_ref());
    Ok(match local {
        Some(local) => cors::for_page(reply, &local.page_origin),
        None => reply,
    })
}

async fn serve<Handled>(
    route: &Route,
    context: &Context,
    request: Request,
    handle: impl FnOnce(Request) -> Handled,
) -> Result<Response, ApiError>
where
    Handled: Future<Output = Result<Response, ApiError>>,
{
    route.check(&request)?;
    // Locks guard the state that a handler shares with the next invocation; they survive a panic.
    let caught = panics::catch_async(async {
        #[cfg(feature = "local")]
        faults::fail_on_demand(&request).await;
        handle(request).await
    });
    match deadline::keep(context, caught).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(ApiError::Panicked(panic)),
        Err(cut_off) => Err(ApiError::TimedOut(cut_off)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::UserKey,
        endpoints::home_activities::ROUTE,
        test_support::{FakeExtension, HOME_EVENT},
    };

    async fn answered<Handled>(event: &str, handle: impl FnOnce(Request) -> Handled) -> Value
    where
        Handled: Future<Output = Result<Response, ApiError>>,
    {
        answered_by(None, event, handle).await
    }

    async fn answered_by<Handled>(
        local: Option<&Local>,
        event: &str,
        handle: impl FnOnce(Request) -> Handled,
    ) -> Value
    where
        Handled: Future<Output = Result<Response, ApiError>>,
    {
        let config = Config::from_vars(|_| None);
        let (telemetry, _) = Telemetry::build(&config, std::io::sink);
        answered_with(&telemetry, local, event, handle).await
    }

    async fn answered_with<Handled>(
        telemetry: &Telemetry,
        local: Option<&Local>,
        event: &str,
        handle: impl FnOnce(Request) -> Handled,
    ) -> Value
    where
        Handled: Future<Output = Result<Response, ApiError>>,
    {
        let payload = RawValue::from_string(event.to_owned()).unwrap();
        let event = LambdaEvent::new(payload, Context::default());
        let reply = answer(telemetry, ROUTE, local, event, handle).await.unwrap();
        serde_json::to_value(reply).unwrap()
    }

    #[test]
    fn an_event_that_is_no_json_becomes_a_text_and_all_else_stays() {
        for (event, expected) in [
            (&b"x"[..], &br#""x""#[..]),
            (b"", br#""""#),
            (b"{\xff", "\"{\u{fffd}\"".as_bytes()),
            (b" {} ", b" {} "),
        ] {
            let (parts, ()) = http::Response::new(()).into_parts();
            let body = event.into();
            let invocation = LambdaInvocation { parts, body, context: Context::default() };

            assert_eq!(as_json(invocation).body, expected);
        }
    }

    #[tokio::test]
    async fn a_reply_has_the_payload_format_2_0() {
        let reply = answered(HOME_EVENT, async |_| Ok(Response::ok(&["Hello"])?)).await;

        let tag = reply["headers"]["etag"].clone();
        let expected = serde_json::json!({
            "statusCode": 200,
            "headers": {
                "cache-control": "no-cache",
                "content-type": "application/json",
                "etag": tag,
                "vary": "accept-encoding",
            },
            "body": "[\"Hello\"]",
            "isBase64Encoded": false,
            "cookies": [],
        });
        assert_eq!(reply, expected);
    }

    #[tokio::test]
    async fn the_span_names_its_user_even_if_their_token_has_no_handle_to_write_under() {
        let extension = FakeExtension::start("200 OK");
        let endpoint = format!("http://{}", extension.address);
        let config = Config::from_vars(|name| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())
        });
        let (telemetry, subscriber) = Telemetry::build(&config, std::io::sink);
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let mut event: Value = serde_json::from_str(HOME_EVENT).unwrap();
        event["requestContext"]["authorizer"]["jwt"]["claims"] = json!({"sub": "sub-x"});

        let event = event.to_string();
        let invocation = answered_with(&telemetry, None, &event, async |_| Ok(Response::ok(&())?));
        telemetry.around(invocation).await;

        let server = extension.spans().remove(0);
        let user = server.attributes.iter().find(|attribute| attribute.key == "app.user_id");
        let key = UserKey::of_token("", "sub-x").unwrap().to_string();
        assert!(format!("{user:?}").contains(&key), "{user:?}");
    }

    #[tokio::test]
    async fn the_span_names_the_durable_execution_of_its_event() {
        let extension = FakeExtension::start("200 OK");
        let endpoint = format!("http://{}", extension.address);
        let config = Config::from_vars(|name| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())
        });
        let (telemetry, subscriber) = Telemetry::build(&config, std::io::sink);
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let mut event: Value = serde_json::from_str(HOME_EVENT).unwrap();
        event["DurableExecutionArn"] =
            "arn:aws:lambda:ca-central-1:1:function:f:7/durable-execution/order-1/id-2".into();
        event["InitialExecutionState"] = json!({ "Operations": [{ "Type": "EXECUTION" }] });

        let event = event.to_string();
        let invocation = answered_with(&telemetry, None, &event, async |_| Ok(Response::ok(&())?));
        telemetry.around(invocation).await;

        let server = extension.spans().remove(0);
        let durable = server.attributes.iter().filter(|it| it.key.starts_with("aws.durable."));
        let shown: Vec<_> = durable.map(|it| format!("{} {:?}", it.key, it.value)).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        for part in ["execution_name", "order-1", "execution_id", "id-2", "BoolValue(true)"] {
            assert!(shown.iter().any(|it| it.contains(part)), "{part} {shown:?}");
        }
    }

    #[tokio::test]
    async fn under_an_emulator_a_browser_may_ask_first_and_read_also_what_went_wrong() {
        let local = Local {
            handle: crate::domain::Handle::parse("andrew").unwrap(),
            page_origin: "http://localhost:3000".to_owned(),
        };
        let options = HOME_EVENT.replace("\"method\": \"GET\"", "\"method\": \"OPTIONS\"");

        let preflight = answered_by(Some(&local), &options, async |_| panic!("reached")).await;
        let failed = answered_by(Some(&local), HOME_EVENT, async |_| panic!("secret")).await;
        let deployed = answered_by(None, &options, async |_| panic!("reached")).await;

        assert_eq!(preflight["statusCode"], 200);
        let methods = preflight["headers"]["access-control-allow-methods"].as_str().unwrap();
        assert_eq!(methods, "GET,HEAD,POST,PUT,DELETE");
        let allowed = preflight["headers"]["access-control-allow-headers"].as_str().unwrap();
        assert!(allowed.split(',').any(|name| name == "baggage"), "{allowed}");
        assert!(allowed.contains("content-type") && allowed.contains("traceparent"), "{allowed}");
        for reply in [&preflight, &failed] {
            let origin = &reply["headers"]["access-control-allow-origin"];
            assert_eq!(origin, "http://localhost:3000");
        }
        assert_eq!(deployed["statusCode"], 405);
        assert_eq!(deployed["headers"]["access-control-allow-origin"], Value::Null);
    }

    #[tokio::test]
    async fn a_panicking_handler_is_answered_500_without_a_word_of_the_panic() {
        let reply = answered(HOME_EVENT, async |_| panic!("secret")).await;

        assert_eq!(
            (&reply["statusCode"], &reply["body"]),
            (&500.into(), &"[\"generic_500\"]".into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_does_not_end_is_answered_503_before_lambda_ends_it() {
        let started = tokio::time::Instant::now();

        let reply = answered(HOME_EVENT, async |_| std::future::pending().await).await;

        assert_eq!(
            (&reply["statusCode"], &reply["body"]),
            (&503.into(), &"[\"timed_out\"]".into())
        );
        assert!(started.elapsed() < std::time::Duration::from_secs(10));
    }

    #[tokio::test]
    async fn an_event_that_is_no_request_is_answered_400_and_never_reaches_the_handler() {
        let reply = answered("[1]", async |_| panic!("reached")).await;

        assert_eq!(
            (&reply["statusCode"], &reply["body"]),
            (&400.into(), &"[\"malformed_event\"]".into())
        );
    }

    #[tokio::test]
    async fn another_method_is_answered_405_and_never_reaches_the_handler() {
        let event = HOME_EVENT.replace("\"method\": \"GET\"", "\"method\": \"POST\"");

        let reply = answered(&event, async |_| panic!("reached")).await;

        assert_eq!(
            (&reply["statusCode"], &reply["headers"]["allow"]),
            (&405.into(), &"GET, HEAD".into())
        );
    }
}
