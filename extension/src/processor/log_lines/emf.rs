//! Metrics inside of lines: CloudWatch extracts them from the log group (embedded metric format).
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! | in | metrics | by |
//! |---|---|---|
//! | the record of `platform.report`, or of the sandbox's end in its place | `Invocations`, `ColdStarts`, `Errors`, `Timeouts`, `Duration`, `BilledDuration`, `InitDuration`, `MaxMemoryUsed`, `MemorySize` | `Function`, and over all |
//! | a function's access line | `Requests`, `Latency` | `Route` and `StatusClass`, `Route`, `StatusClass`, and over all |
//! | the extension's own account | `Received`, `Delivered`, `Dropped`, `Repeated`, `FailedRequests`, `Held`, `Spooled` | `Destination`, and over all |
//! | the same | `HoldOfNext`, `LongestHoldOfNext`, `Refused` (requests) | `Function`, and over all |
//!
//! AWS bills each combination of dimensions as a metric. So no dimension holds an id, and routes are
//! bounded: at most `MAX_ROUTES`, without numbers and UUIDs, of 250 bytes each. With
//! `CRUDDUR_METRICS=totals` lines declare the metrics over all only: 21.

use std::sync::OnceLock;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::time::unix_ms;

/// The default of `CRUDDUR_METRICS_NAMESPACE`.
pub const DEFAULT_NAMESPACE: &str = "Cruddur";

/// The scope of all lines of this process. Unset, as in tests, metrics are detailed.
static SCOPE: OnceLock<MetricScope> = OnceLock::new();

/// The namespace of the metrics, and whether they are declared by function, route and destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricScope {
    pub namespace: String,
    pub is_detailed: bool,
}

impl Default for MetricScope {
    fn default() -> Self {
        Self { namespace: DEFAULT_NAMESPACE.to_owned(), is_detailed: true }
    }
}

/// Sets the scope of all lines before the first line is made; a second call has no effect.
pub fn set_scope(scope: MetricScope) {
    let _ = SCOPE.set(scope);
}

/// Most routes with separate metrics; later routes count as `other`. Several times Cruddur's number.
const MAX_ROUTES: usize = 64;

/// The dimension value of unknown routes, methods and classes.
const OTHER: &str = "other";

/// Methods that are part of a route; others count as `other`, since clients may send any method.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

/// Members of a JSON object: values of metrics and dimensions, and their declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct EmfMetrics {
    dimensions: Vec<(&'static str, String)>,
    sets: Vec<Vec<&'static str>>,
    values: Vec<(&'static str, &'static str, f64)>,
}

impl EmfMetrics {
    /// All members, `_aws` first.
    pub fn members(&self, time: SystemTime) -> Vec<(&'static str, Value)> {
        self.members_in(SCOPE.get_or_init(MetricScope::default), time)
    }

    fn members_in(&self, scope: &MetricScope, time: SystemTime) -> Vec<(&'static str, Value)> {
        let sets = self.sets.iter().filter(|set| scope.is_detailed || set.is_empty());
        let metrics = self.values.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit}));
        let directive = json!({
            "Namespace": scope.namespace,
            "Dimensions": sets.collect::<Vec<_>>(),
            "Metrics": metrics.collect::<Value>(),
        });
        let aws = json!({ "Timestamp": unix_ms(time), "CloudWatchMetrics": [directive] });
        let dimensions = self.dimensions.iter().map(|(name, value)| (*name, json!(value)));
        let values = self.values.iter().map(|(name, _, value)| (*name, number(*value)));
        std::iter::once(("_aws", aws)).chain(dimensions).chain(values).collect()
    }

    pub fn with(mut self, name: &'static str, unit: &'static str, value: Option<f64>) -> Self {
        self.values.extend(value.map(|value| (name, unit, value)));
        self
    }
}

/// Writes whole numbers without a fraction, which is shorter.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// The end of an invocation whose start this process has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct InvocationOutcome {
    pub(super) is_first: bool,
    pub(super) failed: bool,
    pub(super) timed_out: bool,
}

/// Metrics of a `platform.report` record, or of null without one.
///
/// Only the process that saw the start of an invocation counts its outcome, so it is counted once.
pub(super) fn invocation(
    function: &str,
    outcome: Option<InvocationOutcome>,
    report: &Value,
) -> EmfMetrics {
    let figure = |key: &str| report["metrics"][key].as_f64();
    let count =
        |is: fn(&InvocationOutcome) -> bool| outcome.as_ref().map(|it| f64::from(u8::from(is(it))));
    by_function(function)
        .with("Invocations", "Count", outcome.map(|_| 1.0))
        .with("ColdStarts", "Count", count(|it| it.is_first))
        .with("Errors", "Count", count(|it| it.failed))
        .with("Timeouts", "Count", count(|it| it.timed_out))
        .with("Duration", "Milliseconds", figure("durationMs"))
        .with("BilledDuration", "Milliseconds", figure("billedDurationMs"))
        .with("InitDuration", "Milliseconds", figure("initDurationMs"))
        .with("MaxMemoryUsed", "Megabytes", figure("maxMemoryUsedMB"))
        .with("MemorySize", "Megabytes", figure("memorySizeMB"))
}

pub fn by_function(function: &str) -> EmfMetrics {
    let dimensions = vec![("Function", function.to_owned())];
    EmfMetrics { dimensions, sets: vec![vec!["Function"], vec![]], values: Vec::new() }
}

/// Metrics of one destination, and over all.
pub fn by_destination(name: &str) -> EmfMetrics {
    let dimensions = vec![("Destination", name.to_owned())];
    EmfMetrics { dimensions, sets: vec![vec!["Destination"], vec![]], values: Vec::new() }
}

/// Recognises access lines, and bounds their routes.
#[derive(Clone, Debug, Default)]
pub struct AccessLines {
    routes: Vec<String>,
}

impl AccessLines {
    /// The members to add to an access line, which has `method`, `route`, `status` and `duration_ms`. None
    /// are added if the line has one of them already.
    pub fn members(
        &mut self,
        time: SystemTime,
        field: impl Fn(&str) -> Option<Value>,
    ) -> Vec<(&'static str, Value)> {
        let metrics = self.metrics(&field);
        let members = metrics.map(|metrics| metrics.members(time)).unwrap_or_default();
        let is_own = members.iter().any(|(key, _)| field(key).is_some());
        if is_own { Vec::new() } else { members }
    }

    fn metrics(&mut self, field: impl Fn(&str) -> Option<Value>) -> Option<EmfMetrics> {
        let (status, duration) = (field("status")?.as_u64()?, field("duration_ms")?.as_f64()?);
        let (method, route) = (field("method")?, field("route")?);
        let method = METHODS.into_iter().find(|known| method == *known).unwrap_or(OTHER);
        let route = match route.as_str()? {
            path if has_id(path) => OTHER.to_owned(),
            route => self.known(format!("{method} {route}")),
        };
        let class = match status {
            100..600 => format!("{}xx", status / 100),
            _ => OTHER.to_owned(),
        };
        let sets = vec![vec!["Route", "StatusClass"], vec!["Route"], vec!["StatusClass"], vec![]];
        let dimensions = vec![("Route", route), ("StatusClass", class)];
        let metrics = EmfMetrics { dimensions, sets, values: Vec::new() };
        let metrics = metrics.with("Requests", "Count", Some(1.0));
        Some(metrics.with("Latency", "Milliseconds", Some(duration)))
    }

    fn known(&mut self, route: String) -> String {
        if !self.routes.contains(&route) {
            if self.routes.len() == MAX_ROUTES || route.len() > 250 {
                return OTHER.to_owned();
            }
            self.routes.push(route.clone());
        }
        route
    }
}

/// Whether a part between slashes is a number or a UUID, which makes the text a path instead of a route.
fn has_id(route: &str) -> bool {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = route.split('/').filter(|part| !part.is_empty());
    parts.any(|part| is_number(part) || uuid::Uuid::try_parse(part).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn totals_declare_each_metric_once_and_in_their_namespace() {
        let scope = MetricScope { namespace: "Cruddur/blue".to_owned(), is_detailed: false };
        let field = |name: &str| match name {
            "method" => Some(json!("GET")),
            "route" => Some(json!("/api/activities/home")),
            "status" => Some(json!(200)),
            "duration_ms" => Some(json!(1.5)),
            _ => None,
        };
        let all = [
            by_function("home").with("Errors", "Count", Some(1.0)),
            by_destination("xray").with("Dropped", "Count", Some(1.0)),
            AccessLines::default().metrics(field).unwrap(),
        ];

        for metrics in all {
            let members = metrics.members_in(&scope, SystemTime::UNIX_EPOCH);
            let directive = &members[0].1["CloudWatchMetrics"][0];
            assert_eq!(directive["Namespace"], "Cruddur/blue");
            assert_eq!(directive["Dimensions"], json!([[]]));
        }
    }
}
