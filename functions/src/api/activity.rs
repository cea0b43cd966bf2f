//! The full shape of a crud, as every feed sends it.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Counters, Handle, MessageText, ReplyTree, Thread};

/// A crud as the page reads it: three counters, and `replies` even where there are none.
pub fn activity_json(thread: &Thread) -> impl Serialize + '_ {
    let activity = &thread.activity;
    ActivityJson {
        uuid: activity.uuid,
        handle: &activity.handle,
        display_name: activity.display_name.as_deref(),
        message: &activity.message,
        created_at: date(activity.created_at),
        expires_at: date(activity.expires_at),
        counters: activity.counters.into(),
        replies: thread.replies.iter().map(reply_json).collect(),
    }
}

#[derive(Serialize)]
struct ActivityJson<'a> {
    uuid: Uuid,
    handle: &'a Handle,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    message: &'a MessageText,
    created_at: String,
    expires_at: String,
    #[serde(flatten)]
    counters: CountersJson,
    replies: Vec<ReplyJson<'a>>,
}

/// Has no `expires_at`: a reply goes with its crud.
#[derive(Serialize)]
struct ReplyJson<'a> {
    uuid: Uuid,
    reply_to_activity_uuid: Uuid,
    handle: &'a Handle,
    message: &'a MessageText,
    created_at: String,
    #[serde(flatten)]
    counters: CountersJson,
    replies: Vec<ReplyJson<'a>>,
}

#[derive(Serialize)]
struct CountersJson {
    likes_count: u64,
    replies_count: u64,
    reposts_count: u64,
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

fn reply_json(tree: &ReplyTree) -> ReplyJson<'_> {
    let reply = &tree.reply;
    ReplyJson {
        uuid: reply.uuid,
        reply_to_activity_uuid: reply.reply_to_activity_uuid,
        handle: &reply.handle,
        message: &reply.message,
        created_at: date(reply.created_at),
        counters: reply.counters.into(),
        replies: tree.replies.iter().map(reply_json).collect(),
    }
}

/// `2026-11-20T09:20:00.000000+00:00`: always six digits and a numeric offset, which the page needs
/// to take it for UTC.
fn date(time: Timestamp) -> String {
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
