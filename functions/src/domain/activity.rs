//! Activities, and the replies under them.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::{LongText, MessageText, UserKey};

/// The root of a thread, alive until `expires_at`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Its id, of version 4.
    pub uuid: Uuid,
    /// The author. Handles change, so [`super::People`] has the current one.
    pub author: UserKey,
    /// What they wrote.
    pub message: MessageText,
    /// When, to the microsecond.
    pub created_at: Timestamp,
    /// When it disappears, replies included.
    pub expires_at: Timestamp,
    /// What others did with it.
    pub counters: Counters,
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
    /// Replies that their authors have deleted; `replies` counts the others.
    pub deleted_replies: u64,
}

impl Counters {
    /// Whether a reply has ever been written. Replies may stand below a deleted one.
    pub fn has_replies(&self) -> bool {
        self.replies + self.deleted_replies > 0
    }
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
    /// The author. Handles change, so [`super::People`] has the current one.
    pub author: UserKey,
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

    /// The author.
    pub fn author(&self) -> UserKey {
        match self {
            Entry::Activity(activity) => activity.author,
            Entry::Reply(reply) => reply.author,
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

impl EntryTree {
    /// The author of the entry.
    pub fn author(&self) -> UserKey {
        match self {
            EntryTree::Activity(thread) => thread.activity.author,
            EntryTree::Reply(tree) => tree.reply.author,
        }
    }

    /// The authors of the entry and the replies below it.
    pub fn authors(&self) -> BTreeSet<UserKey> {
        match self {
            EntryTree::Activity(thread) => thread.authors(),
            EntryTree::Reply(tree) => {
                let mut authors = BTreeSet::new();
                tree.add_authors(&mut authors);
                authors
            }
        }
    }
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

    /// The authors of the activity and its replies.
    pub fn authors(&self) -> BTreeSet<UserKey> {
        let mut authors = BTreeSet::from([self.activity.author]);
        for tree in &self.replies {
            tree.add_authors(&mut authors);
        }
        authors
    }
}

impl ReplyTree {
    /// Hangs each reply of the same thread under what it answers, as far as `reply` is above it.
    pub fn new(reply: Reply, replies: Vec<Reply>) -> Self {
        let mut by_parent = by_parent(replies);
        Self { replies: replies_to(reply.uuid, &mut by_parent), reply }
    }

    fn add_authors(&self, authors: &mut BTreeSet<UserKey>) {
        authors.insert(self.reply.author);
        for tree in &self.replies {
            tree.add_authors(authors);
        }
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
