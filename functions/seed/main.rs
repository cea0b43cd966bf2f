//! Demo data for the local run: `cargo run --features cruddur/local --bin seed`.
//!
//! Writes users, a handful of threads, aged as if they had just happened, and two conversations to
//! the local store: `CRUDDUR_SQLITE`, or `CRUDDUR_TABLE` at a local endpoint. Any other store is
//! refused. Ids are fixed, and a further run adds only users, threads and conversations that are
//! missing. A thread that has expired is missing; one that its author has deleted is not.

mod local_store;
mod thread;

use std::io::Write;

use cruddur::{
    Error,
    config::Config,
    domain::{
        Activity, Bio, Counters, DisplayName, Handle, Identity, LongText, Message, MessageText,
        Reply, UserKey, Written, conversation_uuid,
    },
    runtime::App,
    store::{Consistency, PageRequest, Table, codec, keys, messages, users},
};
use jiff::{SignedDuration, Timestamp};
use uuid::{Uuid, uuid};

/// An activity, before it has times.
struct DemoActivity {
    uuid: Uuid,
    handle: &'static str,
    message: &'static str,
    minutes_ago: i64,
    hours_to_live: i64,
    likes: u64,
    reposts: u64,
    replies: &'static [DemoReply],
}

/// A reply, before it has times.
struct DemoReply {
    uuid: Uuid,
    handle: &'static str,
    message: &'static str,
    minutes_ago: i64,
    likes: u64,
    replies: &'static [DemoReply],
}

const ACTIVITIES: &[DemoActivity] = &[
    DemoActivity {
        uuid: uuid!("bdd640fb-0667-4ad1-9c80-317fa3b1799d"),
        handle: "andrewbrown",
        message: "One request, one trace. I can finally see where my milliseconds go.",
        minutes_ago: 12,
        hours_to_live: 7 * 24,
        likes: 5,
        reposts: 1,
        replies: &[
            DemoReply {
                uuid: uuid!("23b8c1e9-3924-46de-beb1-3b9046685257"),
                handle: "worf",
                message: "A warrior does not count milliseconds. He spends them with honour.",
                minutes_ago: 11,
                likes: 3,
                replies: &[DemoReply {
                    uuid: uuid!("bd9c66b3-ad3c-4d6d-9a3d-1fa7bc8960a9"),
                    handle: "bayko",
                    message: "He still pays for them by the gigabyte-second.",
                    minutes_ago: 9,
                    likes: 2,
                    replies: &[DemoReply {
                        uuid: uuid!("972a8469-1641-4f82-8b9d-2434e465e150"),
                        handle: "worf",
                        message: "Then today is a good day to optimise.",
                        minutes_ago: 7,
                        likes: 4,
                        replies: &[],
                    }],
                }],
            },
            DemoReply {
                uuid: uuid!("17fc695a-07a0-4a6e-8822-e8f36c031199"),
                handle: "altbrown",
                message: "Mine go to the cold start. They send postcards.",
                minutes_ago: 8,
                likes: 0,
                replies: &[],
            },
        ],
    },
    DemoActivity {
        uuid: uuid!("9a1de644-815e-46d1-bb8f-aa1837f8a88b"),
        handle: "bayko",
        message: "Reminder: what you crud today is gone in a week. Choose your typos well.",
        minutes_ago: 95,
        hours_to_live: 7 * 24,
        likes: 2,
        reposts: 0,
        replies: &[DemoReply {
            uuid: uuid!("b74d0fb1-32e7-4629-8fad-c1a606cb0fb3"),
            handle: "londo",
            message: "In my time we had typos that outlived an emperor.",
            minutes_ago: 90,
            likes: 1,
            replies: &[],
        }],
    },
    DemoActivity {
        uuid: uuid!("0b3c7b52-5c7e-4d0f-9f6a-2f1d8f0f6a11"), // `events/delete-activity.json` deletes it
        handle: "delenn",
        message: "Understanding is a three-edged trace.",
        minutes_ago: 3 * 60,
        hours_to_live: 24,
        likes: 0,
        reposts: 0,
        replies: &[],
    },
    DemoActivity {
        uuid: uuid!("6b65a6a4-8b81-48f6-b38a-088ca65ed389"),
        handle: "worf",
        message: "The dead letter queue is without honour. I have emptied it.",
        minutes_ago: 26 * 60,
        hours_to_live: 3 * 24,
        likes: 9,
        reposts: 2,
        replies: &[],
    },
    DemoActivity {
        uuid: uuid!("47378190-96da-4dac-b2ff-5d2a386ecbe0"),
        handle: "londo",
        message: "Only fools keep one log group. Well, fools and auditors.",
        minutes_ago: 2 * 24 * 60 + 40,
        hours_to_live: 30 * 24,
        likes: 1,
        reposts: 0,
        replies: &[DemoReply {
            uuid: uuid!("c241330b-01a9-471f-9e8a-774bcf36d58b"),
            handle: "altbrown",
            message: "And people who have to read it at three in the morning.",
            minutes_ago: 2 * 24 * 60,
            likes: 1,
            replies: &[DemoReply {
                uuid: uuid!("6c307511-b2b9-437a-a8df-6ec4ce4a2bbd"),
                handle: "andrewbrown",
                message: "Those I would like to introduce to trace ids.",
                minutes_ago: 24 * 60,
                likes: 0,
                replies: &[],
            }],
        }],
    },
    DemoActivity {
        uuid: uuid!("371ecd7b-27cd-4130-8722-9389571aa876"),
        handle: "altbrown",
        message: "Does anybody know what happens after the seventh day? Asking for a crud.",
        minutes_ago: 5 * 24 * 60,
        hours_to_live: 7 * 24,
        likes: 0,
        reposts: 0,
        replies: &[],
    },
];

/// Handle, display name, bio.
const USERS: &[(&str, &str, &str)] = &[
    ("andrewbrown", "Andrew Brown", "Teaches the cloud, one crud at a time."),
    ("bayko", "Andrew Bayko", "Counts gigabyte-seconds."),
    ("worf", "Worf", "Son of Mogh. Reader of dead letters."),
    ("londo", "Londo Mollari", "There was a time when this whole quadrant belonged to us."),
    ("altbrown", "Alt Brown", ""),
    ("delenn", "Delenn", ""),
];

/// Issuer and subject of the token in `events/`.
const SAMPLE_TOKEN: (&str, &str) = (
    "https://cognito-idp.ca-central-1.amazonaws.com/ca-central-1_AbCdEfGhI",
    "5f0c1c52-8a3e-4d0b-9c57-2f6f1f7d9a31",
);

/// The two who talk, and what they say in turn, the first one first, a minute apart.
const CONVERSATIONS: &[(&str, &str, &[&str])] = &[
    (
        "andrewbrown",
        "bayko",
        &[
            "Have you seen where the time goes on the home feed?",
            "I thought it went to the database.",
            "A quarter of it. The rest was us, telling everybody about it.",
            "And now?",
            "Now we tell them after we have answered.",
            "That is just good manners.",
        ],
    ),
    (
        "worf",
        "andrewbrown",
        &["I have emptied the dead letter queue.", "All of it?", "It did not surrender."],
    ),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    let done = match local_store::check(var) {
        Ok(()) => add_all(&App::new(Config::from_vars(var))).await,
        Err(reason) => Err(reason.into()),
    };
    if let Err(problem) = done {
        writeln!(std::io::stderr(), "seed: {problem}")?;
        std::process::exit(1);
    }
    Ok(())
}

/// Adds everything that is missing, and prints how much that is.
async fn add_all(app: &App) -> Result<(), Error> {
    let (table, now) = (app.table().await?, app.now());
    let (mut new_users, mut new_activities, mut new_conversations) = (0, 0, 0);
    for user in USERS {
        new_users += usize::from(add_user(table, user, now).await?);
    }
    for demo in ACTIVITIES {
        let activity = activity_of(demo, now)?;
        let mut replies = Vec::new();
        add_replies(&activity, activity.uuid, 1, demo.replies, now, &mut replies)?;
        new_activities += usize::from(thread::add(table, activity, replies, now).await?);
    }
    for (one, other, texts) in CONVERSATIONS {
        new_conversations += usize::from(talk(table, [one, other], texts, now).await?);
    }
    writeln!(
        std::io::stdout(),
        "Demo data: {new_users} users, {new_activities} activities and {new_conversations} conversations added"
    )?;
    Ok(())
}

/// Adds a user with the counts of all demo activities. `false` if there is one of this key.
async fn add_user(
    table: &dyn Table,
    (handle, display_name, bio): &(&str, &str, &str),
    now: Timestamp,
) -> Result<bool, Error> {
    let identity = identity(handle, display_name)?;
    let known = table.get(&[keys::user(identity.key)], Consistency::Strong, now).await?;
    if known.iter().any(Option::is_some) {
        return Ok(false);
    }
    let made = users::get_or_create(table, &identity, now).await?;
    let user = made.ok_or_else(|| format!("another user has the handle {handle}"))?;
    let bio = Bio::parse(bio).ok();
    users::update_profile(table, user.key, &user.display_name, Some(&bio), None, now).await?;
    table.put_each(&[codec::written_item(user.key, written_by(handle))?]).await?;
    Ok(true)
}

/// The user whom the local run takes for the sender if `CRUDDUR_LOCAL_HANDLE` says so.
fn identity(handle: &str, display_name: &str) -> Result<Identity, Error> {
    let handle = Handle::parse(handle)?;
    Ok(Identity {
        key: author(handle.as_str())?,
        handle,
        handle_is_chosen: false,
        name: Some(DisplayName::parse(display_name)?),
    })
}

/// The user's key: for `delenn` that of the token in the sample events.
fn author(handle: &str) -> Result<UserKey, Error> {
    let (issuer, sub) = SAMPLE_TOKEN;
    let of_token = (handle == "delenn").then(|| UserKey::of_token(issuer, sub)).flatten();
    Ok(of_token.unwrap_or(UserKey::local(&Handle::parse(handle)?)))
}

/// How much of the demo data a user has written.
fn written_by(handle: &str) -> Written {
    let activities = ACTIVITIES.iter().filter(|demo| demo.handle == handle).count() as u64;
    let replies = ACTIVITIES.iter().map(|demo| replies_by(handle, demo.replies)).sum();
    Written { activities, replies }
}

fn replies_by(handle: &str, replies: &[DemoReply]) -> u64 {
    let with_below =
        |reply: &DemoReply| u64::from(reply.handle == handle) + replies_by(handle, reply.replies);
    replies.iter().map(with_below).sum()
}

/// Adds a conversation. `false` if the two have one.
async fn talk(
    table: &dyn Table,
    handles: [&str; 2],
    texts: &[&str],
    now: Timestamp,
) -> Result<bool, Error> {
    let mut two = Vec::new();
    for handle in handles {
        two.push(author(handle)?);
    }
    let group_uuid = conversation_uuid(two[0], two[1]);
    let first = PageRequest { limit: 1, after: None };
    if !messages::messages(table, group_uuid, &first, now).await?.entries.is_empty() {
        return Ok(false);
    }
    for (said, text) in texts.iter().enumerate() {
        let (from, to) = (two[said % 2], two[(said + 1) % 2]);
        let message = Message {
            uuid: Uuid::new_v4(),
            group_uuid,
            from,
            message: LongText::parse(text)?,
            created_at: now - SignedDuration::from_mins((texts.len() - said) as i64),
        };
        messages::send(table, to, &message, None, now).await?;
    }
    Ok(true)
}

fn activity_of(demo: &DemoActivity, now: Timestamp) -> Result<Activity, Error> {
    let created_at = now - SignedDuration::from_mins(demo.minutes_ago);
    Ok(Activity {
        uuid: demo.uuid,
        author: author(demo.handle)?,
        message: MessageText::parse(demo.message)?,
        created_at,
        expires_at: created_at + SignedDuration::from_hours(demo.hours_to_live),
        counters: Counters {
            likes: demo.likes,
            replies: demo.replies.len() as u64,
            reposts: demo.reposts,
            deleted_replies: 0,
        },
    })
}

fn add_replies(
    root: &Activity,
    parent: Uuid,
    depth: u8,
    answers: &[DemoReply],
    now: Timestamp,
    replies: &mut Vec<Reply>,
) -> Result<(), Error> {
    for answer in answers {
        replies.push(Reply {
            uuid: answer.uuid,
            root_uuid: root.uuid,
            reply_to_activity_uuid: parent,
            depth,
            author: author(answer.handle)?,
            message: LongText::parse(answer.message)?,
            created_at: now - SignedDuration::from_mins(answer.minutes_ago),
            expires_at: root.expires_at,
            counters: Counters {
                likes: answer.likes,
                replies: answer.replies.len() as u64,
                ..Counters::default()
            },
        });
        add_replies(root, answer.uuid, depth + 1, answer.replies, now, replies)?;
    }
    Ok(())
}
