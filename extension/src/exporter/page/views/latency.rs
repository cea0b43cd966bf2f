//! Durations over time, and by route.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::exporter::page::query::{PageQuery, PageRefusal};
use crate::exporter::page::store::{Snapshot, StoredTrace};
use crate::exporter::page::views::summary::{error, millis};

const FAILED: u8 = 1;
const COLD: u8 = 2;

/// Start and duration in milliseconds, flags, and the trace's id.
#[derive(Debug, Serialize)]
pub struct Point(f64, f64, u8, String);

#[derive(Debug, Serialize)]
pub struct RouteStats {
    route: String,
    method: Option<String>,
    count: usize,
    errors: usize,
    cold: usize,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// The requests, the oldest first.
pub fn points(snapshot: &Snapshot, query: &PageQuery) -> Result<Vec<Point>, PageRefusal> {
    let (route, method) = (query.text("route"), query.text("method"));
    let since_ms = query.number("since_ms")?.unwrap_or(f64::MIN);
    let mut points = Vec::new();
    for trace in &snapshot.traces {
        let Some(entry) = &trace.entry else { continue };
        let start_ms = millis(entry.start_nanos);
        let is_route = route.is_none_or(|route| *route == route_of(trace));
        let is_method = method.is_none_or(|method| entry.method.as_deref() == Some(method));
        if start_ms < since_ms || !is_route || !is_method {
            continue;
        }
        let failed = if error(trace).is_some() { FAILED } else { 0 };
        let cold = if entry.is_cold { COLD } else { 0 };
        let took = entry.end_nanos - entry.start_nanos;
        points.push(Point(start_ms, millis(took), failed | cold, trace.id.to_string()));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(points)
}

/// The route, or the name of a request without one.
pub fn route_of(trace: &StoredTrace) -> String {
    let entry = trace.entry.as_ref();
    let route = entry.map(|entry| entry.route.as_ref().unwrap_or(&entry.name));
    route.cloned().unwrap_or_default()
}

pub fn routes(snapshot: &Snapshot, query: &PageQuery) -> Result<Vec<RouteStats>, PageRefusal> {
    let since_ms = query.number("since_ms")?.unwrap_or(f64::MIN);
    let mut routes: BTreeMap<(String, Option<String>), Vec<&StoredTrace>> = BTreeMap::new();
    for trace in &snapshot.traces {
        let Some(entry) = &trace.entry else { continue };
        if millis(entry.start_nanos) >= since_ms {
            routes.entry((route_of(trace), entry.method.clone())).or_default().push(trace);
        }
    }
    let stats = routes.into_iter().map(|((route, method), traces)| {
        let is_cold = |trace: &&&StoredTrace| trace.entry.as_ref().is_some_and(|it| it.is_cold);
        let warm = traces.iter().filter(|trace| !is_cold(trace));
        let warm = warm.filter_map(|trace| trace.entry.as_ref());
        let mut nanos: Vec<u64> = warm.map(|entry| entry.end_nanos - entry.start_nanos).collect();
        nanos.sort_unstable();
        RouteStats {
            count: traces.len(),
            errors: traces.iter().filter(|trace| error(trace).is_some()).count(),
            cold: traces.iter().filter(is_cold).count(),
            p50_ms: percentile(&nanos, 50),
            p90_ms: percentile(&nanos, 90),
            p99_ms: percentile(&nanos, 99),
            route,
            method,
        }
    });
    Ok(stats.collect())
}

/// The smallest value that as many percent of the sorted values do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|nanos| millis(*nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measured_value_by_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).map(|ms| ms * 1_000_000).collect();
        for (values, percent, expected) in [
            (&hundred[..], 50, Some(50.0)),
            (&hundred, 90, Some(90.0)),
            (&hundred, 99, Some(99.0)),
            (&hundred[..1], 99, Some(1.0)),
            (&hundred[..2], 50, Some(1.0)),
            (&[], 50, None),
        ] {
            assert_eq!(percentile(values, percent), expected, "{percent} of {}", values.len());
        }
    }
}
