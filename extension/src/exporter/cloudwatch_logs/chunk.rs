//! Cuts lines into requests within the limits of PutLogEvents.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use crate::otlp::line_codec::LogLine;

/// Most bytes of a request: the messages in UTF-8, and [`EVENT_BYTES`] for each.
const MAX_BYTES: usize = 1_048_576;

/// Bytes that each event counts in addition to its message.
pub(super) const EVENT_BYTES: usize = 26;

/// Most events of a request.
const MAX_EVENTS: usize = 10_000;

/// Longest time between the first and the last event of a request: 24 hours.
const MAX_SPAN_MS: i64 = 24 * 60 * 60 * 1_000;

/// Sorts lines by time; lines of the same time keep their order.
pub(super) fn into_requests(mut lines: Vec<LogLine<'_>>) -> Vec<Vec<LogLine<'_>>> {
    lines.sort_by_key(|line| line.time_ms);
    let mut requests: Vec<Vec<LogLine<'_>>> = Vec::new();
    let mut bytes = 0;
    for line in lines {
        let more = line.json.len() + EVENT_BYTES;
        let fits = requests.last().is_some_and(|request| {
            let span = request.first().map_or(0, |first| line.time_ms.abs_diff(first.time_ms));
            bytes + more <= MAX_BYTES
                && request.len() < MAX_EVENTS
                && span <= MAX_SPAN_MS.unsigned_abs()
        });
        if !fits {
            requests.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(request) = requests.last_mut() {
            request.push(line);
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(time_ms: i64, json: &str) -> LogLine<'_> {
        LogLine { time_ms, json }
    }

    #[test]
    fn a_request_is_full_by_bytes_by_events_or_by_time() {
        let long = "x".repeat(MAX_BYTES / 2 - EVENT_BYTES);
        let exact = into_requests(vec![line(1, &long), line(2, &long), line(3, "")]);
        assert_eq!(exact.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);

        let many = into_requests(vec![line(1, "{}"); MAX_EVENTS + 1]);
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_EVENTS, 1]);

        let day =
            into_requests(vec![line(0, "a"), line(MAX_SPAN_MS, "b"), line(MAX_SPAN_MS + 1, "c")]);
        assert_eq!(day.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn the_longest_possible_line_fits_alone() {
        let longest = "x".repeat(crate::otlp::line_codec::MAX_LINE_BYTES);

        assert_eq!(into_requests(vec![line(1, &longest)]).len(), 1);
        assert_eq!(longest.len() + EVENT_BYTES, MAX_BYTES);
    }

    proptest! {
        #[test]
        fn every_request_keeps_every_limit_and_every_line_is_in_one(
            lines in prop::collection::vec((any::<i64>(), 0..300_000_usize), 0..40),
            near in any::<bool>(),
        ) {
            let text = "x".repeat(300_000);
            let time = |time: i64| if near { time % (3 * MAX_SPAN_MS) } else { time };
            let lines: Vec<_> =
                lines.iter().map(|(at, length)| line(time(*at), &text[..*length])).collect();

            let requests = into_requests(lines.clone());

            for request in &requests {
                let bytes: usize = request.iter().map(|it| it.json.len() + EVENT_BYTES).sum();
                prop_assert!(bytes <= MAX_BYTES && request.len() <= MAX_EVENTS);
                prop_assert!(request.is_sorted_by_key(|line| line.time_ms));
                let span = request[request.len() - 1].time_ms.abs_diff(request[0].time_ms);
                prop_assert!(span <= MAX_SPAN_MS.unsigned_abs());
            }
            let mut sorted = lines;
            sorted.sort_by_key(|line| line.time_ms);
            prop_assert_eq!(requests.concat(), sorted);
        }
    }
}
