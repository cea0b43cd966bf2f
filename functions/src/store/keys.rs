//! How keys look: the only place where they are built and read.
//!
//! | item | partition | sort key | in the listing index |
//! |---|---|---|---|
//! | activity | `THREAD#<uuid>` | `ROOT` | `LATEST#<shard>`, `<time>#<uuid>` |
//! | reply | `THREAD#<root's uuid>` | `REPLY#<depth>#<time>#<uuid>` | – |
//! | where a reply is | `PLACE#<uuid>` | `PLACE` | – |
//! | a reply, below what it answers | `ANSWERS#<activity's or reply's uuid>` | `<time>#<uuid>` | – |
//! | like | `LIKED#<activity's or reply's uuid>` | `<user>` | – |
//! | activity of an author | `AUTHOR#<user>` | `<time>#<uuid>` | – |
//! | activity with a word | `WORDS#<shard>#<word>` | `<time>#<uuid>` | – |
//! | notification | `NOTIFIED#<user>` | `<time>#<uuid>` | – |
//! | notification of a handle that no user had | `MENTIONED#<handle>` | `<time>#<uuid>` | – |
//! | user | `PERSON#<user>` | `PERSON` | – |
//! | the handle that a user had before | `PERSON#<user>` | `FORMER` | – |
//! | how much a user has published | `PERSON#<user>` | `WRITTEN` | – |
//! | owner of a handle | `OWNER#<handle>` | `OWNER` | – |
//! | membership in a conversation | `MEMBER_OF#<user>` | `<group's uuid>` | `TALKS#<user>`, `<time>#<group's uuid>` |
//! | message | `MESSAGES#<group's uuid>` | `<time>#<uuid>` | – |
//! | writes of a kind in ten minutes | `QUOTA#<user>` | `<kind>#<first second>` | – |
//! | answered request | `REQUESTS#<user>` | `<route> <idempotency key>` | – |
//!
//! `<user>` is the user's uuid: handles change, so they stand in their owners' keys alone. Items of
//! an author or a word are pointers, whose sort key names the activity.
//!
//! No partition takes all writes: activities spread by their own uuid, and so do the pointers of a
//! word, which a few words share with every text. The readers merge the [`SHARDS`].
//!
//! A thread is one partition, so that a feed reads the beginning of it by one query. Depth comes
//! before time in a reply's key: read from the start, a parent always comes before its children,
//! and a range ends at a depth. The replies below a single reply are not a range of the thread, so
//! each activity and reply has a partition for the replies to it. Times are written with a fixed
//! width, `2026-11-20T09:20:00.000000Z`, so that they sort as text. Users' texts stand in keys only
//! where they end a part, so that no text can look like two parts.

use jiff::Timestamp;
use uuid::Uuid;

use super::Key;
use crate::domain::{Handle, UserKey, parse_position, position, sortable};

/// Partitions of the home feed, and of each word. One takes 1,000 write units a second.
/// A change of this number hides older activities until they have expired.
pub const SHARDS: u8 = 4;

const ROOT: &str = "ROOT";
const WORDS: &str = "WORDS#";

/// What a reply's key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyKey {
    /// The activity at the top.
    pub root: Uuid,
    /// Steps below it.
    pub depth: u8,
    /// When it was written.
    pub created_at: Timestamp,
    /// Its id.
    pub uuid: Uuid,
}

/// The partition of an activity and all replies below it.
pub fn thread_partition(root: Uuid) -> String {
    format!("THREAD#{root}")
}

/// The key of an activity.
pub fn activity(uuid: Uuid) -> Key {
    Key { partition: thread_partition(uuid), sort: ROOT.to_owned() }
}

/// The id of the activity with this key; `None` if it is the key of something else.
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

/// An activity's key in the home index.
pub fn home(uuid: Uuid, created_at: Timestamp) -> Key {
    by_time(home_partition(shard(uuid)), created_at, uuid)
}

fn shard(uuid: Uuid) -> u8 {
    // Ids of version 4 are random in their last byte.
    uuid.as_bytes()[15] % SHARDS
}

/// Where to find the place of a reply.
pub fn reply_place(uuid: Uuid) -> Key {
    Key { partition: format!("PLACE#{uuid}"), sort: "PLACE".to_owned() }
}

/// The replies to an activity or reply.
pub fn replies_partition(parent: Uuid) -> String {
    format!("ANSWERS#{parent}")
}

/// That a user likes an activity or reply.
pub fn like(uuid: Uuid, user: UserKey) -> Key {
    Key { partition: likes_partition(uuid), sort: user.to_string() }
}

/// The likes of an activity or reply.
pub fn likes_partition(uuid: Uuid) -> String {
    format!("LIKED#{uuid}")
}

/// The activities of a user.
pub fn author_partition(author: UserKey) -> String {
    format!("AUTHOR#{author}")
}

/// The key of an activity among those with a word.
pub fn word(word: &str, uuid: Uuid, created_at: Timestamp) -> Key {
    by_time(word_partition(shard(uuid), word), created_at, uuid)
}

/// All partitions of a word.
pub fn word_partitions(word: &str) -> impl Iterator<Item = String> {
    (0..SHARDS).map(move |shard| word_partition(shard, word))
}

fn word_partition(shard: u8, word: &str) -> String {
    format!("{WORDS}{shard}#{word}")
}

/// The key without a word, which a user has written and no log line may hold.
pub fn without_word(key: &Key) -> Key {
    let is_word = key.partition.starts_with(WORDS);
    let partition = if is_word { WORDS.to_owned() } else { key.partition.clone() };
    Key { partition, sort: key.sort.clone() }
}

/// The notifications of a user.
pub fn notified_partition(user: UserKey) -> String {
    format!("NOTIFIED#{user}")
}

/// The mentions of a handle at a time when no user had it.
pub fn mentioned_partition(handle: &Handle) -> String {
    format!("MENTIONED#{handle}")
}

/// Something in a partition that is sorted by time.
pub fn by_time(partition: String, created_at: Timestamp, uuid: Uuid) -> Key {
    Key { partition, sort: position(created_at, uuid) }
}

/// The time and the id in a key of [`by_time`]; `None` for another kind of key.
pub fn parse_by_time(key: &Key) -> Option<(Timestamp, Uuid)> {
    parse_position(&key.sort)
}

/// A user.
pub fn user(key: UserKey) -> Key {
    Key { partition: format!("PERSON#{key}"), sort: "PERSON".to_owned() }
}

/// The handle that a user had before, as long as it is kept for them.
pub fn former_handle(key: UserKey) -> Key {
    Key { sort: "FORMER".to_owned(), ..user(key) }
}

/// How much a user has published.
pub fn written(key: UserKey) -> Key {
    Key { sort: "WRITTEN".to_owned(), ..user(key) }
}

/// The owner of a handle.
pub fn handle(handle: &Handle) -> Key {
    Key { partition: format!("OWNER#{handle}"), sort: "OWNER".to_owned() }
}

/// That a user is one of the two in a conversation.
pub fn member(user: UserKey, group: Uuid) -> Key {
    Key { partition: format!("MEMBER_OF#{user}"), sort: group.to_string() }
}

/// The conversation of a key of [`member`].
pub fn parse_member(key: &Key) -> Option<Uuid> {
    key.partition.starts_with("MEMBER_OF#").then(|| key.sort.parse().ok()).flatten()
}

/// The conversations of a user, in the listing index.
pub fn groups_partition(user: UserKey) -> String {
    format!("TALKS#{user}")
}

/// The messages of a conversation.
pub fn messages_partition(group: Uuid) -> String {
    format!("MESSAGES#{group}")
}

/// The answer to a request of a user; `idempotency_key` is theirs to choose.
pub fn answered_request(user: UserKey, route: &str, idempotency_key: &str) -> Key {
    Key { partition: format!("REQUESTS#{user}"), sort: format!("{route} {idempotency_key}") }
}

/// How many writes of a kind a user has made in the ten minutes from this Unix second on.
pub fn quota(user: UserKey, kind: &str, from_second: i64) -> Key {
    Key { partition: format!("QUOTA#{user}"), sort: format!("{kind}#{from_second}") }
}

/// All partitions of the home index.
pub fn home_partitions() -> impl Iterator<Item = String> {
    (0..SHARDS).map(home_partition)
}

fn home_partition(shard: u8) -> String {
    format!("LATEST#{shard}")
}

fn parse_thread_partition(partition: &str) -> Option<Uuid> {
    partition.strip_prefix("THREAD#")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::is_position;

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

    fn any_user() -> impl Strategy<Value = UserKey> {
        any::<u128>().prop_map(|id| UserKey::from(Uuid::from_u128(id)))
    }

    #[test]
    fn a_place_in_time_is_written_in_one_way_only() {
        let id = "bdd640fb-0667-4ad1-9c80-317fa3b1799d";
        assert!(is_position(&format!("2026-11-20T09:20:00.000000Z#{id}")));
        for (time, id) in [
            ("2026-11-20T09:20:00Z", id),
            ("2026-11-20T09:20:00.0000000Z", id),
            ("2026-11-20T09:20:00.000000+00:00", id),
            ("2026-11-20T09:20:00.000000Z", "BDD640FB-0667-4AD1-9C80-317FA3B1799D"),
            ("2026-11-20T09:20:00.000000Z", "bdd640fb06674ad19c80317fa3b1799d"),
            ("2026-11-20T09:20:00.000000Z", ""),
            ("", ""),
        ] {
            assert!(!is_position(&format!("{time}#{id}")), "{time}#{id}");
        }
        assert!(!is_position(""));
    }

    proptest! {
        #[test]
        fn the_keys_of_two_users_are_never_the_same(a in any_user(), b in any_user(), id in any::<u128>()) {
            let id = Uuid::from_u128(id);
            for [of_a, of_b] in [
                [user(a), user(b)],
                [member(a, id), member(b, id)],
                [like(id, a), like(id, b)],
                [answered_request(a, "POST /x", "k"), answered_request(b, "POST /x", "k")],
            ] {
                prop_assert_eq!(of_a == of_b, a == b);
            }
            prop_assert_eq!(parse_member(&member(a, id)), Some(id));
        }

        #[test]
        fn what_is_sorted_by_time_says_when_and_what(time in any_time(), id in any::<u128>()) {
            let key = by_time("p".to_owned(), time, Uuid::from_u128(id));

            prop_assert_eq!(parse_by_time(&key), Some((time, Uuid::from_u128(id))));
            prop_assert!(is_position(&key.sort));
        }

        #[test]
        fn no_other_text_passes_for_a_place_in_time(text: String) {
            prop_assert!(!is_position(&text));
        }

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

        #[test]
        fn each_activity_is_in_one_of_the_partitions_of_its_words(
            time in any_time(), id in any::<u128>(), text in "\\PC{1,20}", other in "\\PC{1,20}",
        ) {
            let key = word(&text, Uuid::from_u128(id), time);

            prop_assert!(word_partitions(&text).any(|partition| partition == key.partition));
            let of_other = word_partitions(&other).any(|partition| partition == key.partition);
            prop_assert_eq!(of_other, text == other);
            prop_assert_eq!(without_word(&key).partition, "WORDS#");
        }
    }
}
