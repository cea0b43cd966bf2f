//! What holds when our own code fails.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use super::*;

/// An Extensions API that gives these answers, one a connection; returns the calls' first lines.
fn api_with(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let call = move |answer: &&str| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).unwrap();
        let request = String::from_utf8_lossy(&request[..length]);
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\nlambda-extension-identifier: x\r\n\
             content-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
        request.lines().next().unwrap_or_default().to_owned()
    };
    (api, thread::spawn(move || answers.iter().map(call).collect()))
}

const INVOKE: &str = r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":0}"#;
const SHUTDOWN: &str = r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown"}"#;

#[tokio::test]
async fn a_panic_ends_our_work_and_events_are_asked_for_until_shutdown() {
    let (api, calls) = api_with(&["{}", INVOKE, INVOKE, SHUTDOWN]);
    let lambda = ExtensionsApi::register(&api, "name").await.unwrap();

    let done = keep_going(&lambda, async { panic!("a bug") }).await;

    assert_eq!(done, None::<()>);
    let next = "GET /2020-01-01/extension/event/next HTTP/1.1";
    let register = "POST /2020-01-01/extension/register HTTP/1.1";
    assert_eq!(calls.join().unwrap(), [register, next, next, next]);
}

#[tokio::test(start_paused = true)]
async fn without_a_pipeline_no_invocation_is_waited_for() {
    let (config, _) = Config::from_vars(|_| None);
    let mut parts = Parts::start(&config, Trigger::Flush);
    // Its other end is dropped, as by a panic.
    (_, parts.pipeline) = Pipeline::new(Vec::new(), &config, Trigger::Flush);
    let Ok(Event::Invoke(invoke)) = serde_json::from_str(INVOKE) else { panic!("no INVOKE") };
    let began = Instant::now();

    parts.attend(&invoke, true, &mut Flushing::new(&config)).await;

    assert_eq!(began.elapsed(), Duration::ZERO);
}
