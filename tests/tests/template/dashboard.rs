//! The dashboard's widgets show what exists and do not overlap.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{deployed, gateway_log};
use crate::template::alarms::own_metrics;

fn widgets(resources: &Value) -> Vec<Value> {
    let body = resources["Dashboard"]["Properties"]["DashboardBody"].as_str().expect("a text");
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["widgets"].as_array().expect("widgets").clone()
}

#[test]
fn widgets_do_not_overlap_and_show_every_alarm_of_the_defaults() {
    let resources = &deployed(&[("a-stack", &[])])[0]["resources"];
    let widgets = widgets(resources);

    let mut taken = BTreeSet::new();
    for widget in &widgets {
        let [x, y, width, height] =
            ["x", "y", "width", "height"].map(|side| widget[side].as_u64().unwrap());
        assert!(x + width <= 24, "{widget}");
        for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{widget} overlaps another at {place:?}");
        }
    }
    let all = resources.as_object().expect("resources").iter();
    let alarms = all.filter(|(_, it)| it["Type"] == "AWS::CloudWatch::Alarm");
    let expected: BTreeSet<String> = alarms.map(|(name, _)| format!("<{name}.Arn>")).collect();
    let shown = widgets.last().unwrap()["properties"]["alarms"].as_array().unwrap().iter();
    assert_eq!(shown.map(|it| it.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn metrics_of_the_stack_exist() {
    let resources = &deployed(&[("a-stack", &[])])[0]["resources"];
    let mut shown = BTreeSet::new();
    for widget in widgets(resources) {
        let mut namespace = String::new();
        for row in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            match row[0].as_str() {
                Some("." | "...") | None => {}
                Some(first) => first.clone_into(&mut namespace),
            }
            if namespace == "Cruddur/a-stack" {
                shown.insert(row[1].as_str().expect("a metric").to_owned());
            }
        }
    }
    assert!(shown.len() > 5, "{shown:?}");
    for metric in shown {
        assert!(own_metrics().contains(metric.as_str()), "{metric} does not exist");
    }
}

#[test]
fn queries_read_the_stacks_log_group() {
    let resources = &deployed(&[("a-stack", &[])])[0]["resources"];
    let all = widgets(resources);
    let queries: Vec<&str> =
        all.iter().filter_map(|it| it["properties"]["query"].as_str()).collect();

    assert_eq!(queries.len(), 2);
    for query in queries {
        assert!(query.starts_with("SOURCE '<LogGroup>' | "), "{query}");
    }
    let fields = gateway_log::fields();
    for field in ["type", "latency_ms", "route"] {
        assert!(fields.iter().any(|it| it == field), "{field}");
    }
}
