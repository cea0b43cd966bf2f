//! Times of a page's spans. The clock of a page may be wrong, and any client can invent times.

use opentelemetry_proto::tonic::trace::v1::Span;

const SECOND: u64 = 1_000_000_000;

/// Longest time between the first start and the last end of a request's spans, in nanoseconds.
const MAX_SPREAD: u64 = 24 * 3600 * SECOND;

/// Oldest end and latest end that are believed, in nanoseconds before and after now.
const MAX_AGE: u64 = 24 * 3600 * SECOND;
const MAX_LEAD: u64 = 60 * SECOND;

/// Whether a span ends after it starts.
pub(super) fn is_ordered(span: &Span) -> bool {
    span.start_time_unix_nano <= span.end_time_unix_nano
}

/// Moves the spans of a request together so that the last one ends `now`, in nanoseconds since the
/// epoch, if it ended too long ago or in the future. Events outside that time are
/// dropped.
///
/// `false` if the spans are too far apart.
pub(super) fn correct(spans: &mut [&mut Span], now: u64) -> bool {
    let first = spans.iter().map(|span| span.start_time_unix_nano).min().unwrap_or(now);
    let last = spans.iter().map(|span| span.end_time_unix_nano).max().unwrap_or(now);
    if last - first > MAX_SPREAD {
        return false;
    }
    let is_believed = (now.saturating_sub(MAX_AGE)..=now + MAX_LEAD).contains(&last);
    let moved = |time: u64| if is_believed { time } else { now - (last - time) };
    for span in spans {
        span.events.retain(|event| (first..=last).contains(&event.time_unix_nano));
        for event in &mut span.events {
            event.time_unix_nano = moved(event.time_unix_nano);
        }
        span.start_time_unix_nano = moved(span.start_time_unix_nano);
        span.end_time_unix_nano = moved(span.end_time_unix_nano);
    }
    true
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000 * SECOND;

    fn span(start: u64, end: u64) -> Span {
        Span { start_time_unix_nano: start, end_time_unix_nano: end, ..Span::default() }
    }

    #[test]
    fn plausible_times_stay_and_others_are_moved_to_now_with_their_distances() {
        let day = MAX_AGE;
        for (start, end, expected) in [
            (NOW - 5, NOW - 1, (NOW - 5, NOW - 1)),
            (NOW, NOW + MAX_LEAD, (NOW, NOW + MAX_LEAD)),
            (NOW, NOW + MAX_LEAD + 1, (NOW - MAX_LEAD - 1, NOW)),
            (NOW - day - 9, NOW - day - 2, (NOW - 7, NOW)),
            (0, 0, (NOW, NOW)),
            (u64::MAX - 3, u64::MAX, (NOW - 3, NOW)),
        ] {
            let mut span = span(start, end);
            span.events = [start, end, NOW + day]
                .map(|time| Event { time_unix_nano: time, ..Event::default() })
                .to_vec();

            assert!(correct(&mut [&mut span], NOW));

            let times = (span.start_time_unix_nano, span.end_time_unix_nano);
            assert_eq!(times, expected, "{start} {end}");
            let events: Vec<u64> = span.events.iter().map(|event| event.time_unix_nano).collect();
            assert_eq!(events, [expected.0, expected.1]);
        }
    }

    #[test]
    fn spans_more_than_a_day_apart_are_refused() {
        let (mut old, mut new) = (span(0, 0), span(NOW, NOW));

        assert!(!correct(&mut [&mut old, &mut new], NOW));
        assert!(!is_ordered(&span(2, 1)) && is_ordered(&span(1, 1)));
    }

    proptest! {
        #[test]
        fn whatever_the_times_the_result_is_near_now(start: u64, length in 0..MAX_SPREAD) {
            let mut span = span(start, start.saturating_add(length));

            prop_assert!(correct(&mut [&mut span], NOW));

            prop_assert!(is_ordered(&span));
            let end = span.end_time_unix_nano;
            prop_assert!((NOW - MAX_AGE..=NOW + MAX_LEAD).contains(&end));
        }
    }
}
