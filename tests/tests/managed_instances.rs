//! Several requests at once in one function, against our model of Managed Instances.

use std::collections::{BTreeMap, BTreeSet};

use cruddur_tests::log_group::LogGroup;
use cruddur_tests::otlp::Span;
use cruddur_tests::{Event, Exit, Honeycomb, Reply, Rollbar, Sandbox, What, event};
use futures_util::future::join_all;
use serde_json::Value;

/// Requests in flight.
const AT_ONCE: usize = 8;

/// The header by which a local build fails on demand.
const FAULT: (&str, &str) = ("x-cruddur-fault", "panic");

/// The request with this number. Every fourth one fails.
fn request(number: usize) -> Event {
    let event = event("home-activities").query("limit", &(number % 20 + 1).to_string());
    if fails(number) { event.header(FAULT.0, FAULT.1) } else { event }
}

fn fails(number: usize) -> bool {
    number.is_multiple_of(4)
}

struct Run {
    honeycomb: Honeycomb,
    rollbar: Rollbar,
    group: LogGroup,
    replies: Vec<Reply>,
    story: String,
}

impl Run {
    /// Keeps [`AT_ONCE`] requests in flight until there were so many rounds, then ends the sandbox.
    async fn of(rounds: usize) -> Run {
        let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
        let group = LogGroup::new().await;
        let sandbox = Sandbox::builder("home-activities")
            .honeycomb(&honeycomb)
            .rollbar(&rollbar)
            .env("CRUDDUR_LOG_GROUP", &group.name)
            .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &group.proxy.url())
            .demo_store()
            .managed_instances(AT_ONCE)
            .start()
            .await;
        let invoke = async |worker| {
            let mut replies = Vec::new();
            for round in 0..rounds {
                replies.push(sandbox.invoke(request(worker + round)).await);
            }
            replies
        };
        let replies = join_all((0..AT_ONCE).map(invoke)).await.concat();
        for reply in &replies {
            honeycomb.server_span(&reply.request_id).await;
        }
        let ended = sandbox.shutdown().await;
        let story = sandbox.story();
        assert_eq!(ended.extension, Some(Exit::Code(0)), "{story}");
        assert_eq!(most_at_once(&sandbox), AT_ONCE, "{story}");
        Run { honeycomb, rollbar, group, replies, story }
    }

    /// Each trace holds its own request's spans and the platform's.
    fn assert_traces_are_complete(&self) {
        let mut by_trace: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in self.honeycomb.spans() {
            by_trace.entry(span.trace_id.clone()).or_default().push(span);
        }
        let roots: BTreeSet<_> = self.replies.iter().filter_map(Reply::root_trace_id).collect();
        assert_eq!(by_trace.keys().cloned().collect::<BTreeSet<_>>(), roots, "{}", self.story);
        for reply in &self.replies {
            let spans = &by_trace[&reply.root_trace_id().expect("a root")];
            let servers: Vec<_> = spans
                .iter()
                .filter_map(|span| span.attribute("faas.invocation_id").as_str().map(str::to_owned))
                .collect();
            assert_eq!(servers, std::slice::from_ref(&reply.request_id), "{}", self.story);
            let reports = spans.iter().filter(|span| span.name == "platform.report").count();
            assert_eq!(reports, 1, "{}", self.story);
            let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
            assert_eq!(ids.len(), spans.len(), "no span twice");
            let is_placed =
                |span: &&Span| span.parent_id.as_ref().is_none_or(|id| ids.contains(id));
            assert!(spans.iter().all(|span| is_placed(&span)), "{spans:#?}");
            if reply.status == 200 {
                assert!(spans.iter().any(|span| span.name.contains("home")), "{spans:#?}");
            }
        }
    }

    async fn assert_each_request_has_one_access_line(&self) {
        let lines = self.group.lines().await;
        let access = lines.iter().filter(|line| line["route"].is_string());
        let mut by_request: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for line in access {
            by_request.entry(line["requestId"].as_str().unwrap_or("none")).or_default().push(line);
        }
        assert_eq!(by_request.len(), self.replies.len(), "{}", self.story);
        for reply in &self.replies {
            let [line] = by_request[&*reply.request_id][..] else { panic!("{}", self.story) };
            assert_eq!(line["trace_id"], reply.root_trace_id().expect("a root"), "{line}");
            assert_eq!(line["status"], reply.status, "{line}");
        }
    }

    /// Items of one kind of failure are folded, so the number of failures is counted.
    fn assert_failures_are_attributed(&self) {
        let failed: BTreeMap<_, _> = self
            .replies
            .iter()
            .filter(|reply| reply.status == 500)
            .map(|reply| (reply.request_id.as_str(), reply.root_trace_id()))
            .collect();
        let items = self.rollbar.items();
        assert!(!items.is_empty() && items.len() <= failed.len(), "{}", self.story);
        for item in &items {
            let custom = &item["custom"];
            let request_id = custom["request_id"].as_str().unwrap_or_default();
            let trace_id = failed.get(request_id).unwrap_or_else(|| panic!("{item:#}"));
            assert_eq!(custom["trace_id"].as_str(), trace_id.as_deref(), "{item:#}");
        }
    }
}

/// The most invocations that had begun and not ended.
fn most_at_once(sandbox: &Sandbox) -> usize {
    let (mut running, mut most) = (0_usize, 0);
    for entry in sandbox.journal().entries() {
        match &entry.what {
            What::InvokeStarted { .. } => running += 1,
            What::InvokeEnded { .. } => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    most
}

#[tokio::test]
async fn eight_requests_in_flight_keep_their_traces_lines_and_failures_apart() {
    let run = Run::of(5).await;

    run.assert_traces_are_complete();
    run.assert_each_request_has_one_access_line().await;
    run.assert_failures_are_attributed();
    let instances: BTreeSet<_> = run
        .honeycomb
        .spans()
        .iter()
        .map(|span| span.resource("service.instance.id").to_string())
        .collect();
    assert!(instances.len() == 1 && !instances.contains("null"), "{instances:?}");
}

#[tokio::test]
#[ignore = "minutes; see `make soak`"]
async fn a_hundred_runs_with_eight_requests_in_flight_have_no_stray_span() {
    for _ in 0..100 {
        let run = Run::of(3).await;

        run.assert_traces_are_complete();
        run.assert_each_request_has_one_access_line().await;
        run.assert_failures_are_attributed();
    }
}
