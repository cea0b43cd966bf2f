//! How long an activity lives.

use jiff::{SignedDuration, Timestamp};

/// One of the seven lives that the page offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    hours: i64,
}

/// As the page writes them.
const ALL: [(&str, i64); 7] = [
    ("30-days", 30 * 24),
    ("7-days", 7 * 24),
    ("3-days", 3 * 24),
    ("1-day", 24),
    ("12-hours", 12),
    ("3-hours", 3),
    ("1-hour", 1),
];

impl Ttl {
    /// `None` for anything but the seven.
    pub fn parse(text: &str) -> Option<Self> {
        ALL.iter().find(|(name, _)| *name == text).map(|(_, hours)| Self { hours: *hours })
    }

    /// When an activity written then disappears.
    pub fn expires_at(self, created_at: Timestamp) -> Timestamp {
        created_at + SignedDuration::from_hours(self.hours) // far from the end of time, year 9999
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_activity_lives_exactly_as_long_as_its_name_says(micros in 0..4_102_444_800_000_000_i64) {
            let created_at = Timestamp::from_microsecond(micros).unwrap();
            for (name, hours) in [
                ("30-days", 720), ("7-days", 168), ("3-days", 72), ("1-day", 24),
                ("12-hours", 12), ("3-hours", 3), ("1-hour", 1),
            ] {
                let lived = Ttl::parse(name).unwrap().expires_at(created_at) - created_at;

                prop_assert_eq!(lived.total(jiff::Unit::Hour).unwrap(), f64::from(hours));
            }
        }
    }

    #[test]
    fn there_is_no_other_life() {
        for text in ["", "1-days", "30-DAYS", " 7-days", "forever", "7", "-1-hour"] {
            assert_eq!(Ttl::parse(text), None, "{text}");
        }
    }
}
