//! A process without a free file descriptor.

use std::{env, fs::File, iter, process::Command};

use bytes::Bytes;

use super::*;

/// Set in the process that has few descriptors: the limit is that of the whole process.
const IS_LIMITED: &str = "CRUDDUR_TEST_IS_LIMITED";

/// More than a segment takes.
const LARGE: Bytes = Bytes::from_static(&[0; 3 << 19]);

fn take_all_descriptors() -> Vec<File> {
    iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn receive_large(bench: &mut Bench) {
    let (kind, items) = (SignalKind::Traces, 1);
    let payload = Payload { items, ..Payload::empty(kind, LARGE) };
    bench.core.receive(payload);
}

#[test]
fn without_a_free_descriptor_payloads_stay_in_memory_or_go_to_the_open_segment() {
    if env::var_os(IS_LIMITED).is_none() {
        let test = format!("{}::{}", module_path!(), "without_a_free_descriptor");
        let (_, test) = test.split_once("::").unwrap();
        let limited = "ulimit -n 64 && exec \"$0\" \"$1\"";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", limited]).arg(env::current_exe().unwrap()).arg(test);
        let output = shell.env(IS_LIMITED, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let core = Core::new(vec![spec("durable", true)], 16 << 20, Trigger::Flush, 1);
    let mut bench = Bench { core, now: Instant::now() };
    let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &["durable"]).unwrap();
    bench.core.use_spool(spool, recovered, None);

    let taken = take_all_descriptors();
    receive_large(&mut bench);
    assert_eq!(
        json!(bench.account(0)),
        json!({"received": 1, "held": 1}),
        "no segment can be made"
    );
    drop(taken);
    bench.core.defer();
    assert_eq!(json!(bench.account(0)), json!({"received": 1, "spooled": 1}), "now it can");
    let taken = take_all_descriptors();
    receive_large(&mut bench);
    assert_eq!(
        json!(bench.account(0)),
        json!({"received": 2, "spooled": 2}),
        "the full one is open"
    );
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.deliver(0).iter().sum::<u64>(), 2, "nothing is lost meanwhile");
    drop(taken);
}
