//! Lines below the least level of CloudWatch.

use super::*;

fn enricher(level: &str) -> Rig {
    let variable = |name: &str| match name {
        "CRUDDUR_CLOUDWATCH_LEVEL" => Some(level.to_owned()),
        _ => None,
    };
    let (settings, registry) = (Config::from_vars(variable).0.line_settings(), Registry::default());
    Rig { enricher: LineEnricher::new(settings, registry.clone()), registry }
}

/// The messages of the lines that CloudWatch gets, and of those that it does not get.
fn messages(rig: &mut Rig, events: &[(&str, Value)]) -> [Vec<String>; 2] {
    let event = |(kind, record): &(&str, Value)| json!({ "time": "2023-11-14T22:13:20.123Z", "type": kind, "record": record });
    let json = events.iter().map(event).collect::<Value>().to_string();
    let events = RawEvent::read_all(&json, now()).unwrap();
    let mut messages = [Vec::new(), Vec::new()];
    for payload in rig.take(&events) {
        let is_left_out = payload.filtered_at.includes("cloudwatch");
        for line in crate::otlp::line_codec::read(&payload.bytes) {
            let line: Value = serde_json::from_str(line.json).unwrap();
            messages[usize::from(is_left_out)].push(line["message"].as_str().unwrap().to_owned());
        }
    }
    messages
}

#[test]
fn lines_below_the_level_are_left_out_and_those_with_metrics_or_without_a_level_stay() {
    let metrics = json!({"message": "emf", "level": "INFO", "_aws": {}, "x": 1}).to_string();
    let events = [
        ("function", json!({"message": "json info", "level": "INFO"})),
        ("function", json!("[ERROR] text error")),
        ("function", json!("[DEBUG] text debug")),
        ("function", json!("no level")),
        ("function", json!(metrics)),
        ("function", json!({"message": "json warn", "level": "WARN"})),
        ("platform.start", json!({"requestId": "a"})),
    ];

    let [sent, left_out] = messages(&mut enricher("warn"), &events);

    assert_eq!(left_out, ["json info", "[DEBUG] text debug"]);
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert_eq!(messages(&mut enricher(""), &events)[1], [""; 0]);
}
