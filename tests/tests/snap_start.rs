//! Two sandboxes of one snapshot: nothing that was drawn, opened or timed before it leaves either of them.
//!
//! `snap_start/snapshot.c` plays the snapshot: equal random bytes and clocks until the first invocation, then
//! a year passes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use cruddur_tests::http_client::post;
use cruddur_tests::log_group::LogGroup;
use cruddur_tests::{Burst, EXTENSION, Exit, Honeycomb, Load, Sandbox, binaries};

use crate::puppet::script;

/// Bytes that come from the constant stream would show as this in an id.
const CONSTANT: &str = "5a5a5a5a";

/// The port for platform events of a snapshot.
const TELEMETRY_PORT: u16 = 4319;

fn compiled(directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snap_start/snapshot.c");
    let library = directory.join("snapshot.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .output()
        .expect("a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

/// The values of one copy that must be its own.
struct Copy {
    span_ids: BTreeSet<String>,
    instance_ids: BTreeSet<String>,
    streams: BTreeSet<String>,
}

async fn copy(library: &Path, second: u64) -> Copy {
    let (honeycomb, load, group) =
        (Honeycomb::start().await, Load::default(), LogGroup::new().await);
    let directory = tempfile::tempdir().expect("a directory");
    let restored = directory.path().join("restored");
    let extension = script(&format!(
        "export SNAPSHOT_RESTORED={} SNAPSHOT_SECOND={second} LD_PRELOAD={}\nexec {}",
        restored.display(),
        library.display(),
        binaries().path(EXTENSION).display(),
    ));
    let sandbox = Sandbox::builder("load")
        .function(load.function_that_begins_with(2))
        .extension(EXTENSION, extension.program)
        .honeycomb(&honeycomb)
        .env("CRUDDUR_LOG_GROUP", &group.name)
        .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &group.proxy.url())
        .freezing(false)
        .snap_start()
        .start()
        .await;
    let spool = sandbox.directory().join("spool");
    assert!(!spool.exists(), "the spool was opened before the first INVOKE");
    assert_eq!(honeycomb.connections(), 0, "a connection was opened before the first INVOKE");
    let listener = format!("http://127.0.0.1:{TELEMETRY_PORT}/");
    assert_eq!(post(&listener, &[], "[]").await.expect("a fixed port").status, 200);

    std::fs::write(&restored, "").expect("a file");
    for _ in 0..3 {
        let reply = sandbox.invoke(Burst::SMALL.event()).await;
        sandbox.ended(&reply.request_id).await;
    }
    assert!(spool.exists(), "the spool is opened after the first INVOKE");
    let ended = sandbox.shutdown().await;

    assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", sandbox.story());
    let spans = honeycomb.spans();
    let arrived: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    let missing: Vec<_> = load.sent().into_iter().filter(|id| !arrived.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?} of init or invocations\n{}", sandbox.story());
    let names: BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert!(names.contains("restore") && names.contains("platform.report"), "{names:?}");
    assert!(!names.contains("init"), "it ran a year ago: {names:?}");
    let sent = load.sent();
    let own = spans.iter().filter(|span| !sent.contains(&span.span_id));
    assert!(sandbox.extension_log_lines().is_empty(), "{:#?}", sandbox.extension_log_lines());
    Copy {
        span_ids: own.clone().map(|span| span.span_id.clone()).collect(),
        instance_ids: own.map(|span| span.resource("service.instance.id").to_string()).collect(),
        streams: group.streams().await.into_iter().collect(),
    }
}

#[tokio::test]
async fn two_copies_of_a_snapshot_share_no_id_and_lose_nothing_over_a_year() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = compiled(directory.path());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");

    let first = copy(&library, now.as_secs()).await;
    let second = copy(&library, now.as_secs()).await;

    for values in [
        (&first.span_ids, &second.span_ids),
        (&first.instance_ids, &second.instance_ids),
        (&first.streams, &second.streams),
    ] {
        let (one, other) = values;
        assert!(!one.is_empty() && !other.is_empty(), "{one:?} {other:?}");
        assert!(one.is_disjoint(other), "{one:?} {other:?}");
        assert!(one.iter().chain(other).all(|value| !value.contains(CONSTANT)), "{one:?}");
    }
}
