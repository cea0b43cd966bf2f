//! All four destinations at once: the same trace in each, and of each failure one item.

use std::collections::BTreeMap;

use cruddur_tests::event::new_trace_header;
use cruddur_tests::log_group::LogGroup;
use cruddur_tests::otlp::Span;
use cruddur_tests::{Builder, Honeycomb, Rollbar, Sandbox, event, moto};
use serde_json::Value;

use crate::python_function;

/// Honeycomb, X-Ray, CloudWatch Logs and Rollbar: two of them moto's.
pub(crate) struct Everywhere {
    pub(crate) honeycomb: Honeycomb,
    pub(crate) group: LogGroup,
    pub(crate) rollbar: Rollbar,
}

impl Everywhere {
    pub(crate) async fn start() -> Everywhere {
        Everywhere {
            honeycomb: Honeycomb::start().await,
            group: LogGroup::new().await,
            rollbar: Rollbar::start().await,
        }
    }

    /// What leads an extension to them.
    pub(crate) fn variables(&self) -> [(&'static str, String); 9] {
        [
            ("CRUDDUR_EXPORTERS", "honeycomb,xray,cloudwatch,rollbar".to_owned()),
            ("HONEYCOMB_API_KEY", self.honeycomb.key().to_owned()),
            ("HONEYCOMB_API_ENDPOINT", self.honeycomb.url()),
            ("AWS_ENDPOINT_URL_XRAY", moto::url().to_owned()),
            ("CRUDDUR_XRAY_TRANSPORT", "segments".to_owned()), // moto has no endpoint for OTLP
            ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", self.group.proxy.url()),
            ("CRUDDUR_LOG_GROUP", self.group.name.clone()),
            ("ROLLBAR_ENDPOINT", self.rollbar.url()),
            ("ROLLBAR_ACCESS_TOKEN", self.rollbar.token().to_owned()),
        ]
    }

    fn sandbox(&self, function: &str) -> Builder {
        let variables = self.variables().into_iter();
        variables
            .fold(Sandbox::builder(function), |builder, (name, value)| builder.env(name, &value))
    }

    /// The function's lines of an invocation.
    pub(crate) async fn lines(&self, request_id: &str) -> Vec<Value> {
        let mut lines = self.group.lines().await;
        lines.retain(|line| line["requestId"] == request_id && line["type"].is_null());
        lines
    }

    /// The only item.
    pub(crate) fn only_item(&self) -> Value {
        let items = self.rollbar.items();
        let [item] = &items[..] else { panic!("{items:#?}") };
        item.clone()
    }

    /// The server span of an invocation whose spans are the same tree at Honeycomb and at X-Ray.
    async fn assert_is_one_tree(&self, request_id: &str, header: &str) -> Span {
        let server = self.honeycomb.server_span(request_id).await;
        let root = part(header, "Root").expect("a root");
        let spans = self.honeycomb.trace(&server.trace_id);
        let parents = spans.iter().map(|it| (it.span_id.clone(), it.parent_id.clone()));
        let mut at_honeycomb: BTreeMap<_, _> = parents.collect();
        let documents = moto::trace(&root).await;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let parents =
            documents.iter().map(|it| (text(&it["id"]).expect("an id"), text(&it["parent_id"])));
        let mut at_x_ray: BTreeMap<_, _> = parents.collect();
        // Only X-Ray knows Lambda's own segment.
        assert_eq!(at_honeycomb.remove(&server.span_id), Some(None));
        assert_eq!(at_x_ray.remove(&server.span_id), Some(part(header, "Parent")));
        assert!(at_honeycomb.len() > 1, "{spans:#?}");
        assert_eq!(at_x_ray, at_honeycomb);
        server
    }

    /// That the only item is of this invocation, and leads to its trace.
    fn assert_has_one_item_of(&self, server: &Span, header: &str) -> Value {
        let item = self.only_item();
        let custom = &item["custom"];
        assert_eq!(custom["request_id"], server.attribute("faas.invocation_id"));
        assert_eq!(custom["trace_id"], server.trace_id.as_str());
        assert_eq!(custom["span_id"], server.span_id.as_str());
        assert_eq!(custom["xray_trace_id"], part(header, "Root").expect("a root"));
        item
    }
}

/// A part of an X-Ray header.
fn part(header: &str, key: &str) -> Option<String> {
    let mut parts = header.split(';').filter_map(|part| part.split_once('='));
    parts.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
}

#[tokio::test]
async fn a_request_is_the_same_trace_everywhere_and_a_failing_one_a_single_item() {
    let everywhere = Everywhere::start().await;
    let sandbox = everywhere.sandbox("home-activities").demo_store().start().await;
    let failing = event("home-activities").header("x-cruddur-fault", "panic");

    let fine = sandbox.invoke(event("home-activities")).await;
    let failed = sandbox.invoke(failing).await;
    sandbox.shutdown().await;

    assert_eq!((fine.status, failed.status), (200, 500));
    for reply in [&fine, &failed] {
        let header = reply.trace_header.as_deref().expect("a header");
        let server = everywhere.assert_is_one_tree(&reply.request_id, header).await;
        assert_eq!(Some(&server.trace_id), reply.root_trace_id().as_ref());
        let lines = everywhere.lines(&reply.request_id).await;
        for line in &lines {
            assert_eq!(line["trace_id"], server.trace_id.as_str(), "{line}");
            assert_eq!(line["xray_trace_id"], part(header, "Root").expect("a root"), "{line}");
        }
        let access: Vec<_> = lines.iter().filter(|line| !line["_aws"].is_null()).collect();
        let [access] = access[..] else { panic!("{lines:#?}") };
        assert_eq!(access["Route"], "GET /api/activities/home");
        assert_eq!(access["StatusClass"], format!("{}xx", reply.status / 100));
        assert_eq!(access["Requests"], 1);
        if reply.status == 500 {
            let item = everywhere.assert_has_one_item_of(&server, header);
            let trace = &item["body"]["trace"];
            assert_eq!(trace["exception"]["class"], "Panic");
            let frames = trace["frames"].as_array().expect("frames");
            assert!(frames.iter().any(|frame| frame["in_project"] == true), "{frames:#?}");
        }
    }
}

#[tokio::test]
async fn a_python_function_is_everywhere_as_well() {
    let (everywhere, directory) = (Everywhere::start().await, tempfile::tempdir().unwrap());
    let builder = everywhere.sandbox("greeter").function(python_function::bootstrap(&directory));
    let sandbox = python_function::with_patience(builder).start().await;

    let fine = sandbox.invoke(event("home-activities").query("name", "Ada")).await;
    let header_of_failing = new_trace_header();
    let failing = event("home-activities").query("name", "nobody").trace_header(&header_of_failing);
    let failed = sandbox.try_invoke(failing).await.expect_err("an exception");
    sandbox.shutdown().await;

    let header = fine.trace_header.as_deref().expect("a header");
    let server = everywhere.assert_is_one_tree(&fine.request_id, header).await;
    everywhere.honeycomb.log_line("Hello Ada", &server.trace_id).await;
    let lines = everywhere.group.lines().await;
    let said: Vec<_> = lines.iter().filter(|line| line["message"] == "Hello Ada").collect();
    assert!(said.iter().any(|line| line["trace_id"] == server.trace_id.as_str()), "{said:#?}");

    let server = everywhere.assert_is_one_tree(&failed.request_id, &header_of_failing).await;
    let item = everywhere.assert_has_one_item_of(&server, &header_of_failing);
    assert_eq!(item["language"], "python");
    let trace = &item["body"]["trace"];
    assert_eq!(trace["exception"]["class"], "ValueError");
    let frames = trace["frames"].as_array().expect("frames");
    let of_function = |frame: &&Value| {
        let file = frame["filename"].as_str().unwrap_or_default();
        file.ends_with("function.py") && frame["in_project"] == true
    };
    assert!(frames.iter().filter(of_function).count() > 1, "{frames:#?}");
}
