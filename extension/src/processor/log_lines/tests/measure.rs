//! Measures the CPU time of a line.

use super::*;
use crate::test_clock::cpu_time;

/// `cargo test --release --package cruddur-telemetry --lib what_a_line_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_line_costs() {
    const LINES: u32 = 100_000;
    let line = json!({"timestamp": "2023-11-14T22:13:20.123Z", "level": "INFO", "requestId": "a",
        "message": "203.0.113.57 GET https /api/activities/home 200 OK", "service": "home",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
        "path": "/api/activities/home?limit=10", "user_id": "andrew"});
    let event = json!({"time": "2023-11-14T22:13:20.123Z", "type": "function", "record": line});
    let post = Value::from(vec![event; 1_000]).to_string();
    let mut lines = lines();
    started(&mut lines, "a");

    let began = cpu_time();
    for _ in 0..LINES / 1_000 {
        let events = RawEvent::read_all(&post, now()).unwrap();
        let signals = lines.take(&events);
        assert_eq!(signals.iter().map(|signal| signal.items).sum::<u64>(), 1_000);
    }

    eprintln!("{:?} a line of {} bytes", (cpu_time() - began) / LINES, line.to_string().len());
}
