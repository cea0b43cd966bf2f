//! Activities, and the replies under them.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::{DisplayName, Handle, LongText, MessageText};

/// The root of a thread, alive until `expires_at`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Its id, of version 4.
    pub uuid: Uuid,
    /// The author's handle.
    pub handle: Handle,
    /// How its author wants to be called, if they said.
    pub display_name: Option<DisplayName>,
    /// What they wrote.
    pub message: MessageText,
    /// When, to the microsecond.
    pub created_at: Timestamp,
    /// When it disappears, replies included.
    pub expires_at: Timestamp,
    /// What others did with it.
    pub counters: Counters,
}

/// What does not change about an activity while it lives: how lists without counters show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// The activity's id.
    pub uuid: Uuid,
    /// The author's handle.
    pub handle: Handle,
    /// What they wrote.
    pub message: MessageText,
    /// When, to the microsecond.
    pub created_at: Timestamp,
    /// When it disappears.
    pub expires_at: Timestamp,
}

/// How often an activity was liked, answered and repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Likes.
    pub likes: u64,
    /// Replies.
    pub replies: u64,
    /// Reposts.
    pub reposts: u64,
}

/// An answer to an activity or to another reply; it expires with the activity at its root.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Its id, of version 4.
    pub uuid: Uuid,
    /// The activity at the top of the thread.
    pub root_uuid: Uuid,
    /// What it answers: the root, or a reply under it.
    pub reply_to_activity_uuid: Uuid,
    /// How many steps below the root: 1 answers the activity itself.
    pub depth: u8,
    /// The author's handle.
    pub handle: Handle,
    /// How its author wants to be called, if they said.
    pub display_name: Option<DisplayName>,
    /// What they wrote.
    pub message: LongText,
    /// When, to the microsecond.
    pub created_at: Timestamp,
    /// When the root disappears.
    pub expires_at: Timestamp,
    /// What others did with it.
    pub counters: Counters,
}

/// An activity or a reply: both can be answered and liked.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An activity.
    Activity(Activity),
    /// A reply.
    Reply(Reply),
}

/// An activity or reply with the replies below it.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryTree {
    /// An activity.
    Activity(Thread),
    /// A reply.
    Reply(ReplyTree),
}

impl Entry {
    /// The activity at the top.
    pub fn root_uuid(&self) -> Uuid {
        match self {
            Entry::Activity(activity) => activity.uuid,
            Entry::Reply(reply) => reply.root_uuid,
        }
    }

    /// Its own id.
    pub fn uuid(&self) -> Uuid {
        match self {
            Entry::Activity(activity) => activity.uuid,
            Entry::Reply(reply) => reply.uuid,
        }
    }

    /// The author's handle.
    pub fn handle(&self) -> &Handle {
        match self {
            Entry::Activity(activity) => &activity.handle,
            Entry::Reply(reply) => &reply.handle,
        }
    }

    /// When it disappears.
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Entry::Activity(activity) => activity.expires_at,
            Entry::Reply(reply) => reply.expires_at,
        }
    }

    /// How many steps below the root: 0 is the root.
    pub fn depth(&self) -> u8 {
        match self {
            Entry::Activity(_) => 0,
            Entry::Reply(reply) => reply.depth,
        }
    }

    /// What others did with it.
    pub fn counters(&self) -> Counters {
        match self {
            Entry::Activity(activity) => activity.counters,
            Entry::Reply(reply) => reply.counters,
        }
    }
}

/// An activity with its replies.
#[derive(Clone, Debug, PartialEq)]
pub struct Thread {
    /// The activity.
    pub activity: Activity,
    /// The replies to it, each with the replies to itself.
    pub replies: Vec<ReplyTree>,
}

/// A reply with the replies to it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyTree {
    /// The reply.
    pub reply: Reply,
    /// The replies to it.
    pub replies: Vec<ReplyTree>,
}

impl Thread {
    /// Hangs each reply under what it answers, in the given order.
    ///
    /// A reply whose parent is not among `replies` is left out.
    pub fn new(activity: Activity, replies: Vec<Reply>) -> Self {
        let mut by_parent = by_parent(replies);
        let replies = replies_to(activity.uuid, &mut by_parent);
        Self { activity, replies }
    }
}

impl ReplyTree {
    /// Hangs each reply of the same thread under what it answers, as far as `reply` is above it.
    pub fn new(reply: Reply, replies: Vec<Reply>) -> Self {
        let mut by_parent = by_parent(replies);
        Self { replies: replies_to(reply.uuid, &mut by_parent), reply }
    }
}

fn by_parent(replies: Vec<Reply>) -> HashMap<Uuid, Vec<Reply>> {
    let mut by_parent: HashMap<Uuid, Vec<Reply>> = HashMap::new();
    for reply in replies {
        by_parent.entry(reply.reply_to_activity_uuid).or_default().push(reply);
    }
    by_parent
}

/// Takes its replies out of the map, so that it ends even where replies answer each other in a
/// ring.
fn replies_to(parent: Uuid, by_parent: &mut HashMap<Uuid, Vec<Reply>>) -> Vec<ReplyTree> {
    let replies = by_parent.remove(&parent).unwrap_or_default();
    replies
        .into_iter()
        .map(|reply| ReplyTree { replies: replies_to(reply.uuid, by_parent), reply })
        .collect()
}
