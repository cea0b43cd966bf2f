//! Many failures of one kind within a short time become few items: the first are items of their
//! own, those after them one for each interval, with their number.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::item::Made;

/// How long a burst is looked at. Our choice: Rollbar's own limits are by the minute.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Failures of one fingerprint that are items of their own within an interval. Our choice.
pub(super) const SINGLE: u64 = 5;

/// Most fingerprints that are counted; failures beyond them are items of their own. Our choice.
const MAX_FINGERPRINTS: usize = 500;

/// Most ids of requests that a folded item names. Our choice.
const MAX_REQUEST_IDS: usize = 20;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Bursts(HashMap<String, Burst>);

#[derive(Debug)]
struct Burst {
    began: SystemTime,
    /// All in this interval.
    count: u64,
    folded: Option<Folded>,
}

/// The last failure, for all since the last item.
#[derive(Debug)]
struct Folded {
    last: Made,
    count: u64,
    request_ids: Vec<Value>,
}

impl Bursts {
    /// The failure, if it is an item of its own.
    pub(super) fn offer(&mut self, made: Made, now: SystemTime) -> Option<Made> {
        if self.0.len() >= MAX_FINGERPRINTS && !self.0.contains_key(&made.fingerprint) {
            return Some(made);
        }
        let burst = self.0.entry(made.fingerprint.clone()).or_insert_with(|| Burst {
            began: now,
            count: 0,
            folded: None,
        });
        burst.count += 1;
        if burst.count <= SINGLE {
            return Some(made);
        }
        let request_id = made.item.data.custom.get("request_id").cloned();
        let (count, mut request_ids) = match burst.folded.take() {
            Some(folded) => (folded.count + 1, folded.request_ids),
            None => (1, Vec::new()),
        };
        let has_room = request_ids.len() < MAX_REQUEST_IDS;
        request_ids.extend(request_id.filter(|id| has_room && !request_ids.contains(id)));
        burst.folded = Some(Folded { last: made, count, request_ids });
        None
    }

    /// The folded failures of intervals that are over, which begins new ones.
    pub(super) fn due(&mut self, now: SystemTime) -> Vec<Made> {
        let is_over = |burst: &Burst| match now.duration_since(burst.began) {
            Ok(age) => age >= INTERVAL,
            Err(_) => true, // the clock was set back: no telling how long ago that was
        };
        self.release(is_over)
    }

    /// How many items all that is left would be.
    pub(super) fn waiting(&self) -> usize {
        self.0.values().filter(|burst| burst.folded.is_some()).count()
    }

    /// All that is left.
    pub(super) fn finish(&mut self) -> Vec<Made> {
        self.release(|_| true)
    }

    fn release(&mut self, is_over: impl Fn(&Burst) -> bool) -> Vec<Made> {
        let over = self.0.extract_if(|_, burst| is_over(burst));
        let mut released: Vec<_> =
            over.filter_map(|(_, burst)| Some(burst.folded?.release())).collect();
        released.sort_by_key(|made| made.item.data.timestamp);
        released
    }
}

impl Folded {
    fn release(self) -> Made {
        let mut made = self.last;
        if self.count > 1 {
            made.item.data.custom.insert("occurrences".to_owned(), json!(self.count));
            made.item.data.custom.insert("request_ids".to_owned(), self.request_ids.into());
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::exporter::rollbar::payload::{Data, Item};

    fn made(request: u64) -> Made {
        let custom = [("request_id".to_owned(), json!(request))].into();
        let data = Data { custom, ..Data::default() };
        Made {
            id: request.to_string(),
            fingerprint: "one".to_owned(),
            item: Item { data },
            is_error: true,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn after_the_first_few_all_of_an_interval_are_one_with_their_number() {
        let mut bursts = Bursts::default();

        let single = (0..30).filter(|n| bursts.offer(made(*n), at(1)).is_some()).count();

        assert_eq!(single as u64, SINGLE);
        assert!(bursts.due(at(60)).is_empty());
        let folded = bursts.due(at(61));
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].id, "29", "the last of them");
        let custom = &folded[0].item.data.custom;
        assert_eq!(custom["occurrences"], 25);
        assert_eq!(custom["request_ids"].as_array().unwrap().len(), 20);
        assert!(bursts.offer(made(30), at(62)).is_some(), "a new interval");
        assert!(bursts.finish().is_empty());
    }

    #[test]
    fn what_is_folded_at_the_end_is_not_lost_nor_when_the_clock_goes_back() {
        let mut bursts = Bursts::default();
        (0..7).for_each(|n| drop(bursts.offer(made(n), at(1))));
        assert_eq!(bursts.finish()[0].item.data.custom["occurrences"], 2);

        (0..6).for_each(|n| drop(bursts.offer(made(n), at(1))));
        let back = bursts.due(at(0));
        assert_eq!((back.len(), back[0].item.data.custom.get("occurrences")), (1, None));
    }
}
