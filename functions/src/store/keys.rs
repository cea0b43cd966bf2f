//! How keys look: the only place where they are built and read.
//!
//! | item | partition | sort key | in index home |
//! |---|---|---|---|
//! | crud | `ACTIVITY#<uuid>` | `ROOT` | `HOME#<shard>`, `<time>#<uuid>` |
//! | reply | `ACTIVITY#<root's uuid>` | `REPLY#<depth>#<time>#<uuid>` | – |
//!
//! A thread is one partition, so that one query reads it. Depth comes before time in a reply's key:
//! read from the start, a parent always comes before its children, and a range ends at a depth.
//! Times are written with a fixed width, `2026-11-20T09:20:00.000000Z`, so that they sort as text.

use jiff::Timestamp;
use uuid::Uuid;

use super::Key;

/// Over how many partitions the home index is spread: one takes 1,000 writes a second, and every
/// new crud is a write to it. Our choice; changing it hides what is there until it has expired.
pub const HOME_SHARDS: u8 = 4;

const ROOT: &str = "ROOT";

/// What a reply's key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyKey {
    /// The crud at the top.
    pub root: Uuid,
    /// Steps below it.
    pub depth: u8,
    /// When it was written.
    pub created_at: Timestamp,
    /// Its id.
    pub uuid: Uuid,
}

/// The partition of a crud and all replies below it.
pub fn thread_partition(root: Uuid) -> String {
    format!("ACTIVITY#{root}")
}

/// The key of a crud.
pub fn activity(uuid: Uuid) -> Key {
    Key { partition: thread_partition(uuid), sort: ROOT.to_owned() }
}

/// The id of the crud with this key; `None` if it is the key of something else.
pub fn parse_activity(key: &Key) -> Option<Uuid> {
    (key.sort == ROOT).then(|| parse_thread_partition(&key.partition)).flatten()
}

/// The key of a reply.
pub fn reply(reply: &ReplyKey) -> Key {
    let ReplyKey { root, depth, created_at, uuid } = reply;
    Key {
        partition: thread_partition(*root),
        sort: format!("REPLY#{depth:03}#{}#{uuid}", sortable(*created_at)),
    }
}

/// What the key of a reply says; `None` if it is the key of something else.
pub fn parse_reply(key: &Key) -> Option<ReplyKey> {
    let mut parts = key.sort.strip_prefix("REPLY#")?.splitn(3, '#');
    Some(ReplyKey {
        root: parse_thread_partition(&key.partition)?,
        depth: parts.next()?.parse().ok()?,
        created_at: parts.next()?.parse().ok()?,
        uuid: parts.next()?.parse().ok()?,
    })
}

/// The sort keys of all replies down to `depth`.
pub fn replies_down_to(depth: u8) -> (String, String) {
    // `~` sorts behind all that stands in a key.
    ("REPLY#".to_owned(), format!("REPLY#{depth:03}#~"))
}

/// A crud's key in the home index.
pub fn home(uuid: Uuid, created_at: Timestamp) -> Key {
    // Ids of version 4 are random in their last byte.
    let shard = uuid.as_bytes()[15] % HOME_SHARDS;
    Key { partition: home_partition(shard), sort: format!("{}#{uuid}", sortable(created_at)) }
}

/// All partitions of the home index.
pub fn home_partitions() -> impl Iterator<Item = String> {
    (0..HOME_SHARDS).map(home_partition)
}

fn home_partition(shard: u8) -> String {
    format!("HOME#{shard}")
}

fn parse_thread_partition(partition: &str) -> Option<Uuid> {
    partition.strip_prefix("ACTIVITY#")?.parse().ok()
}

fn sortable(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        /// From 1970 to 9999, to the microsecond.
        fn any_time()(micros in 0..253_402_207_199_999_999_i64) -> Timestamp {
            Timestamp::from_microsecond(micros).unwrap()
        }
    }

    prop_compose! {
        fn any_reply()(
            root in any::<u128>(), depth: u8, created_at in any_time(), uuid in any::<u128>(),
        ) -> ReplyKey {
            ReplyKey { root: Uuid::from_u128(root), depth, created_at, uuid: Uuid::from_u128(uuid) }
        }
    }

    proptest! {
        #[test]
        fn what_a_key_says_is_what_it_was_built_from(key in any_reply()) {
            prop_assert_eq!(parse_reply(&reply(&key)), Some(key));
            prop_assert_eq!(parse_activity(&activity(key.uuid)), Some(key.uuid));
        }

        #[test]
        fn the_key_of_one_thing_is_not_read_as_another(key in any_reply()) {
            prop_assert_eq!(parse_activity(&reply(&key)), None);
            prop_assert_eq!(parse_reply(&activity(key.root)), None);
        }

        #[test]
        fn replies_sort_by_depth_and_then_by_time(a in any_reply(), b in any_reply()) {
            let by_key = reply(&a).sort.cmp(&reply(&b).sort);

            prop_assert_eq!(
                by_key,
                (a.depth, a.created_at, a.uuid).cmp(&(b.depth, b.created_at, b.uuid))
            );
        }

        #[test]
        fn the_range_of_a_depth_holds_exactly_what_is_no_deeper(key in any_reply(), depth: u8) {
            let (first, last) = replies_down_to(depth);

            prop_assert_eq!((first..=last).contains(&reply(&key).sort), key.depth <= depth);
        }

        #[test]
        fn the_home_index_sorts_by_time_within_the_known_partitions(
            a in any_time(), b in any_time(), uuid in any::<u128>(),
        ) {
            let [at_a, at_b] = [a, b].map(|time| home(Uuid::from_u128(uuid), time));

            prop_assert_eq!(at_a.sort.cmp(&at_b.sort), a.cmp(&b));
            prop_assert!(home_partitions().any(|partition| partition == at_a.partition));
        }
    }
}
