//! Several invocations at once, as on a managed instance.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::yield_now;

use super::*;

const INVOCATIONS: usize = 8;

fn id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

async fn invoke(function: &Function, number: usize) {
    let request = Request::from_event(HOME_EVENT).unwrap();
    let root = format!("Root=1-5759e988-{number:024x}");
    let mut context = context(Some(&root));
    context.request_id = id(number);
    let invocation = async {
        function.telemetry.identify(&context, &ROUTE, Some(&request));
        for step in 0..3 {
            let work = async {
                yield_now().await;
                info!(step, "Hello");
                yield_now().await;
            };
            work.instrument(info_span!("step")).await;
        }
        function.telemetry.conclude(&Response::ok(&()).unwrap(), None);
    };
    function.telemetry.around(invocation).await;
}

#[tokio::test]
async fn invocations_at_once_keep_spans_lines_and_traces_apart() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);

    join_all((1..=INVOCATIONS).map(|number| invoke(&function, number))).await;

    let lines = function.lines();
    let hello = lines.iter().filter(|line| line["message"] == "Hello");
    assert_eq!(hello.count(), 3 * INVOCATIONS, "{lines:?}");
    let requests: Vec<_> = (0..INVOCATIONS).map(|_| extension.spans()).collect();
    for request in &requests {
        assert_eq!(request.len(), 4, "three steps and their server span");
        assert!(request.iter().all(|span| span.trace_id == request[0].trace_id), "{request:?}");
    }
    let spans = requests.concat();
    for number in 1..=INVOCATIONS {
        let trace_id = format!("5759e988{number:024x}");
        let own: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == trace_id).collect();
        let servers = own.iter().filter(|span| span.kind == SpanKind::Server as i32);
        let request_ids = servers.map(|span| text(&span.attributes, "faas.invocation_id"));
        assert_eq!(request_ids.collect::<Vec<_>>(), [Some(id(number))]);
        let of_request = lines.iter().filter(|line| line["requestId"] == id(number));
        let traces: Vec<_> = of_request.map(|line| line["trace_id"].clone()).collect();
        assert_eq!(traces, [&*trace_id; 3]);
    }
    let cold = spans.iter().filter_map(|span| attribute(&span.attributes, "faas.coldstart"));
    let cold = cold.filter(|flag| *flag == OtlpValue::BoolValue(true));
    assert_eq!(cold.count(), 1, "one invocation is the first");
}

#[tokio::test]
async fn an_answer_counts_although_another_invocation_kept_the_thread_busy() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let busy = async {
        // Until the request is written; then for longer than a request may take.
        for _ in 0..50 {
            yield_now().await;
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(400));
            yield_now().await;
        }
    };

    tokio::join!(invoke(&function, 1), busy);

    assert_eq!(extension.spans().len(), 4);
    let warnings = function.lines().into_iter().filter(|line| line["level"] == "WARN");
    assert_eq!(warnings.count(), 0);
}
