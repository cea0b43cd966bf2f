//! Limits the items of one kind of failure: the first failures become separate items, later ones
//! are folded into one item for each interval, with their number.
//!
//! Folded failures wait here for the end of their interval. They are [counted](BurstLimiter::pending_count),
//! so that a kill does not lose them silently.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::processor::failures::item_builder::{FAILURES, FURTHER_MESSAGES, NewItem};
use crate::processor::failures::truncate::{reduce, to_json};

/// The length of an interval, which begins with its first failure. Rollbar's own limits are by the
/// minute.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Failures of one fingerprint that become separate items within an interval: enough to see whether
/// they differ.
pub(super) const SINGLE: u64 = 5;

/// Most fingerprints that are kept apart; all further failures count as one kind. Bounds the memory.
const MAX_FINGERPRINTS: usize = 500;

/// Most request ids in a folded item: enough to look up examples.
const MAX_REQUEST_IDS: usize = 20;

#[derive(Debug)]
pub(super) struct BurstLimiter {
    bursts: HashMap<String, Burst>,
    /// Most bytes of folded items. When they are reached, new fingerprints count as one kind, and items
    /// are reduced before they wait.
    max_bytes: usize,
}

#[derive(Debug)]
struct Burst {
    began: SystemTime,
    count: u64,
    folded: Option<Suppressed>,
}

/// The last failure, which stands for all since the last item.
#[derive(Debug)]
struct Suppressed {
    last: NewItem,
    /// Number of failures in the folded invocations.
    failures: u64,
    /// The ids of the first folded invocations.
    request_ids: Vec<Value>,
    /// The length of the last failure's JSON.
    bytes: usize,
}

impl BurstLimiter {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { bursts: HashMap::new(), max_bytes }
    }

    /// Drops all folded items.
    pub(super) fn clear(&mut self) {
        self.bursts.clear();
    }

    fn folded(&self) -> impl Iterator<Item = &Suppressed> {
        self.bursts.values().filter_map(|burst| burst.folded.as_ref())
    }

    /// Returns the item if it is sent alone; folds it otherwise.
    pub(super) fn offer(&mut self, mut made: NewItem, now: SystemTime) -> Option<NewItem> {
        let is_full = self.folded().map(|folded| folded.bytes).sum::<usize>() >= self.max_bytes;
        let is_new = !self.bursts.contains_key(&made.fingerprint);
        let key = match is_new && (is_full || self.bursts.len() >= MAX_FINGERPRINTS) {
            true => "",
            false => made.fingerprint.as_str(),
        };
        let new = || Burst { began: now, count: 0, folded: None };
        let burst = self.bursts.entry(key.to_owned()).or_insert_with(new);
        burst.count += 1;
        if burst.count <= SINGLE {
            return Some(made);
        }
        if is_full {
            reduce(&mut made.data);
        }
        burst.folded = Some(Suppressed::of(burst.folded.take(), made));
        None
    }

    /// Number of folded failures and messages.
    pub(super) fn pending_count(&self) -> u64 {
        self.folded().map(|folded| folded.last.items).sum()
    }

    /// Takes the folded items of intervals that are over. The next failure of the kind begins a new one.
    pub(super) fn due(&mut self, now: SystemTime) -> Vec<NewItem> {
        let is_over = |burst: &Burst| match now.duration_since(burst.began) {
            Ok(age) => age >= INTERVAL,
            Err(_) => true, // the clock was set back, so the age is unknown
        };
        self.release(is_over)
    }

    pub(super) fn finish(&mut self) -> Vec<NewItem> {
        self.release(|_| true)
    }

    fn release(&mut self, is_over: impl Fn(&Burst) -> bool) -> Vec<NewItem> {
        let over = self.bursts.extract_if(|_, burst| is_over(burst));
        let mut released: Vec<_> =
            over.filter_map(|(_, burst)| Some(burst.folded?.release())).collect();
        released.sort_by_key(|made| made.data["timestamp"].as_i64());
        released
    }
}

impl Suppressed {
    fn of(before: Option<Self>, mut made: NewItem) -> Self {
        let custom = &made.data["custom"];
        let failures = custom[FAILURES].as_u64().unwrap_or(1);
        let request_id = custom.get("request_id").cloned();
        let bytes = to_json(&made.data).len();
        let mut folded = match before {
            Some(before) => {
                made.items += before.last.items;
                Self { last: made, bytes, ..before }
            }
            None => Self { last: made, failures: 0, request_ids: Vec::new(), bytes },
        };
        folded.failures += failures;
        let has_room = folded.request_ids.len() < MAX_REQUEST_IDS;
        let new = request_id.filter(|id| has_room && !folded.request_ids.contains(id));
        folded.request_ids.extend(new);
        folded
    }

    fn release(self) -> NewItem {
        let mut made = self.last;
        if made.items > 1
            && let Some(Value::Object(custom)) = made.data.get_mut("custom")
        {
            custom.remove(FURTHER_MESSAGES);
            custom.insert("occurrences".to_owned(), json!(made.items));
            if self.failures > made.items {
                custom.insert(FAILURES.to_owned(), json!(self.failures));
            }
            custom.insert("request_ids".to_owned(), self.request_ids.into());
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn made(request: u64) -> NewItem {
        NewItem {
            id: request.to_string(),
            fingerprint: "one".to_owned(),
            data: json!({ "custom": { "request_id": request } }),
            items: 1,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn after_the_first_few_all_of_an_interval_are_one_with_their_number() {
        let mut bursts = BurstLimiter::new(usize::MAX);

        let single = (0..30).filter(|n| bursts.offer(made(*n), at(1)).is_some()).count();

        assert_eq!(single as u64, SINGLE);
        assert!(bursts.due(at(60)).is_empty());
        assert_eq!(bursts.pending_count(), 25);
        let folded = bursts.due(at(61));
        assert_eq!(folded.len(), 1);
        assert_eq!((folded[0].id.as_str(), folded[0].items), ("29", 25), "the last of them");
        assert_eq!(bursts.pending_count(), 0);
        let custom = &folded[0].data["custom"];
        assert_eq!(custom["occurrences"], 25);
        assert_eq!(custom["request_ids"].as_array().unwrap().len(), 20);
        assert!(bursts.offer(made(30), at(62)).is_some(), "a new interval");
        assert!(bursts.finish().is_empty());
    }

    #[test]
    fn what_is_folded_at_the_end_is_not_lost_nor_when_the_clock_goes_back() {
        let mut bursts = BurstLimiter::new(usize::MAX);
        (0..7).for_each(|n| drop(bursts.offer(made(n), at(1))));
        assert_eq!(bursts.finish()[0].data["custom"]["occurrences"], 2);

        (0..6).for_each(|n| drop(bursts.offer(made(n), at(1))));
        let back = bursts.due(at(0));
        assert_eq!((back.len(), back[0].data["custom"].get("occurrences")), (1, None));
    }

    #[test]
    fn what_a_folded_item_stood_for_before_is_in_its_number() {
        let mut bursts = BurstLimiter::new(usize::MAX);
        (0..SINGLE).for_each(|n| drop(bursts.offer(made(n), at(1))));
        let with = |key: &str, number: u64, items| {
            let mut made = NewItem { items, ..made(9) };
            made.data["custom"][key] = json!(number);
            made
        };
        assert!(bursts.offer(with(FURTHER_MESSAGES, 10, 11), at(1)).is_none());
        assert!(bursts.offer(with(FAILURES, 40, 1), at(1)).is_none());

        let folded = &bursts.finish()[0];

        let custom = &folded.data["custom"];
        assert_eq!((&custom["occurrences"], &custom[FAILURES]), (&json!(12), &json!(41)));
        assert_eq!(custom[FURTHER_MESSAGES], Value::Null);
        assert_eq!(folded.items, 12);
    }

    #[test]
    fn of_too_many_kinds_those_beyond_are_one() {
        let mut bursts = BurstLimiter::new(usize::MAX);
        let kind = |n: u64| NewItem { fingerprint: n.to_string(), ..made(n) };

        let single = (0..3_000).filter(|n| bursts.offer(kind(*n), at(1)).is_some()).count();

        assert_eq!(single, MAX_FINGERPRINTS + SINGLE as usize);
        assert_eq!(bursts.finish()[0].data["custom"]["occurrences"], 3_000 - single);
    }

    #[test]
    fn folded_items_of_many_kinds_stay_within_the_bytes_and_are_all_counted() {
        let mut bursts = BurstLimiter::new(10_000);
        for n in 0..1_000 {
            for _ in 0..=SINGLE {
                let mut made = made(n);
                made.fingerprint = n.to_string();
                made.data["custom"]["long"] = json!("x".repeat(2_000));
                bursts.offer(made, at(1));
            }
        }

        let bytes: usize = bursts.folded().map(|folded| folded.bytes).sum();

        assert!(bytes < 10_000 + 3_000, "{bytes}");
        let folded: u64 = bursts.finish().iter().map(|made| made.items).sum();
        assert!(folded > 1_000, "{folded}");
    }
}
