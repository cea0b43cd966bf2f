//! How activities and replies look in replies of ours.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{
    Activity, Counters, DisplayName, EntryTree, Handle, LongText, MessageText, People, ReplyTree,
    Thread,
};

/// An activity in its full shape: three counters, and `replies` even if it is empty. The page reads
/// both of every activity, a new one included.
pub fn thread_json<'a>(thread: &'a Thread, people: &'a People) -> impl Serialize + 'a {
    ActivityJson::of(thread, people)
}

/// A reply with the replies to it.
pub fn reply_json<'a>(tree: &'a ReplyTree, people: &'a People) -> impl Serialize + 'a {
    ReplyJson::of(tree, people, false)
}

/// An activity or reply where it stands at the top of a list: a reply has `expires_at` there too,
/// since there is no activity above it that has.
pub fn entry_json<'a>(tree: &'a EntryTree, people: &'a People) -> impl Serialize + 'a {
    match tree {
        EntryTree::Activity(thread) => EntryJson::Activity(ActivityJson::of(thread, people)),
        EntryTree::Reply(tree) => EntryJson::Reply(ReplyJson::of(tree, people, true)),
    }
}

/// An activity that was searched for.
pub fn search_json<'a>(activity: &'a Activity, people: &'a People) -> impl Serialize + 'a {
    ExcerptJson {
        uuid: activity.uuid,
        handle: &people.names_of(activity.author).handle,
        message: &activity.message,
        created_at: date(activity.created_at),
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum EntryJson<'a> {
    Activity(ActivityJson<'a>),
    Reply(ReplyJson<'a>),
}

#[derive(Serialize)]
struct ActivityJson<'a> {
    uuid: Uuid,
    handle: &'a Handle,
    display_name: &'a DisplayName,
    message: &'a MessageText,
    created_at: String,
    expires_at: String,
    #[serde(flatten)]
    counters: CountersJson,
    replies: Vec<ReplyJson<'a>>,
}

#[derive(Serialize)]
struct ReplyJson<'a> {
    uuid: Uuid,
    reply_to_activity_uuid: Uuid,
    handle: &'a Handle,
    display_name: &'a DisplayName,
    message: &'a LongText,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(flatten)]
    counters: CountersJson,
    /// The message is then empty, and handle and name are those of users who are gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    replies: Vec<ReplyJson<'a>>,
}

#[derive(Serialize)]
struct ExcerptJson<'a> {
    uuid: Uuid,
    handle: &'a Handle,
    message: &'a MessageText,
    created_at: String,
}

#[derive(Serialize)]
struct CountersJson {
    likes_count: u64,
    replies_count: u64,
    reposts_count: u64,
}

impl<'a> ActivityJson<'a> {
    fn of(thread: &'a Thread, people: &'a People) -> Self {
        let activity = &thread.activity;
        let author = people.names_of(activity.author);
        Self {
            uuid: activity.uuid,
            handle: &author.handle,
            display_name: &author.display_name,
            message: &activity.message,
            created_at: date(activity.created_at),
            expires_at: date(activity.expires_at),
            counters: activity.counters.into(),
            replies: thread.replies.iter().map(|tree| ReplyJson::of(tree, people, false)).collect(),
        }
    }
}

impl<'a> ReplyJson<'a> {
    fn of(tree: &'a ReplyTree, people: &'a People, on_top: bool) -> Self {
        let reply = &tree.reply;
        let author = people.names_of(reply.author);
        Self {
            uuid: reply.uuid,
            reply_to_activity_uuid: reply.reply_to_activity_uuid,
            handle: &author.handle,
            display_name: &author.display_name,
            message: &reply.message,
            created_at: date(reply.created_at),
            expires_at: on_top.then(|| date(reply.expires_at)),
            counters: reply.counters.into(),
            deleted: reply.message.is_deleted(),
            replies: tree.replies.iter().map(|tree| ReplyJson::of(tree, people, false)).collect(),
        }
    }
}

impl From<Counters> for CountersJson {
    fn from(counters: Counters) -> Self {
        Self {
            likes_count: counters.likes,
            replies_count: counters.replies,
            reposts_count: counters.reposts,
        }
    }
}

/// `2026-11-20T09:20:00.000000+00:00`: always six digits and a numeric offset, which the page needs
/// to take it for UTC.
pub(super) fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_six_digits_and_an_offset_even_on_the_second() {
        let time: Timestamp = "2026-11-20T09:20:00Z".parse().unwrap();

        assert_eq!(date(time), "2026-11-20T09:20:00.000000+00:00");
    }
}
