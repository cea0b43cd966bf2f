//! How users, conversations and messages look in replies of ours.

use serde::Serialize;
use uuid::Uuid;

use super::activity::date;
use crate::domain::{
    Bio, DisplayName, Handle, LongText, Message, MessageGroup, People, User, Written,
};

/// A user in short.
pub fn user_json(user: &User) -> impl Serialize + '_ {
    UserJson { uuid: user.key.uuid(), handle: &user.handle, display_name: &user.display_name }
}

/// A user's profile. Without a bio, `bio` is null.
pub fn profile_json(user: &User, written: Written) -> impl Serialize + '_ {
    ProfileJson {
        uuid: user.key.uuid(),
        handle: &user.handle,
        display_name: &user.display_name,
        bio: user.bio.as_ref(),
        activities_count: written.activities,
        replies_count: written.replies,
    }
}

/// A conversation, named after the other one in it.
pub fn group_json<'a>(group: &'a MessageGroup, people: &'a People) -> impl Serialize + 'a {
    let other = people.names_of(group.other);
    GroupJson {
        uuid: group.uuid,
        handle: &other.handle,
        display_name: &other.display_name,
        message: &group.message,
        created_at: date(group.created_at),
    }
}

/// A message.
pub fn message_json<'a>(message: &'a Message, people: &'a People) -> impl Serialize + 'a {
    let from = people.names_of(message.from);
    MessageJson {
        uuid: message.uuid,
        message_group_uuid: message.group_uuid,
        handle: &from.handle,
        display_name: &from.display_name,
        message: &message.message,
        created_at: date(message.created_at),
    }
}

#[derive(Serialize)]
struct UserJson<'a> {
    uuid: Uuid,
    handle: &'a Handle,
    display_name: &'a DisplayName,
}

#[derive(Serialize)]
struct ProfileJson<'a> {
    uuid: Uuid,
    handle: &'a Handle,
    display_name: &'a DisplayName,
    bio: Option<&'a Bio>,
    activities_count: u64,
    replies_count: u64,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    uuid: Uuid,
    handle: &'a Handle,
    display_name: &'a DisplayName,
    message: &'a LongText,
    created_at: String,
}

#[derive(Serialize)]
struct MessageJson<'a> {
    uuid: Uuid,
    message_group_uuid: Uuid,
    handle: &'a Handle,
    display_name: &'a DisplayName,
    message: &'a LongText,
    created_at: String,
}
