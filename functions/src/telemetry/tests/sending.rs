//! An extension that is not there, refuses, or hangs.

use super::*;

#[tokio::test]
async fn without_an_extension_there_is_one_warning_and_one_that_comes_later_is_used() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let function = Function::reporting_to(free);
    let warnings = || function.lines().iter().filter(|line| line["level"] == "WARN").count();

    let started = Instant::now();
    for _ in 0..3 {
        function.invoke(None, None).await;
    }

    assert!(started.elapsed().as_millis() < 150, "{:?}", started.elapsed());
    assert_eq!(warnings(), 1);

    let extension = FakeExtension::listen(TcpListener::bind(free).unwrap(), "200 OK");
    function.invoke(None, None).await;
    assert_eq!(extension.spans().len(), 2);
    assert_eq!(warnings(), 1);
}

#[tokio::test]
async fn an_extension_that_refuses_is_one_warning_as_well() {
    let extension = FakeExtension::start("503 Service Unavailable");
    let function = Function::reporting_to(extension.address);

    function.invoke(None, None).await;
    function.invoke(None, None).await;

    let warnings: Vec<_> =
        function.lines().into_iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0]["error"], "refused with status 503 Service Unavailable");
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_never_answers_is_given_up() {
    // It listens, so that connecting works, and never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let function = Function::reporting_to(silent.local_addr().unwrap());
    let started = tokio::time::Instant::now();

    function.invoke(None, None).await;

    assert_eq!(started.elapsed().as_millis(), 200);
    assert_eq!(function.lines()[1]["error"], "no answer within 200 ms");
}
