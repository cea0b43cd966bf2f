//! Conversations of two.

use jiff::Timestamp;
use uuid::Uuid;

use super::{LongText, UserKey};
use crate::domain::digest;

/// The id of the conversation of two users, the same for both.
///
/// It is a hash of their keys, so two first messages at the same time end up in one conversation.
pub fn conversation_uuid(one: UserKey, other: UserKey) -> Uuid {
    let (smaller, larger) = if one <= other { (one, other) } else { (other, one) };
    let hash = digest::of(&[smaller.uuid().as_bytes().as_slice(), larger.uuid().as_bytes()]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid() // looks like any other, of version 4
}

/// A message; never expires.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id, of version 4.
    pub uuid: Uuid,
    /// The conversation that it is part of.
    pub group_uuid: Uuid,
    /// The sender.
    pub from: UserKey,
    /// What they wrote.
    pub message: LongText,
    /// When, to the microsecond.
    pub created_at: Timestamp,
}

/// A conversation, as one of the two sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageGroup {
    /// Its id, of version 4.
    pub uuid: Uuid,
    /// The other user; the reader in a conversation with oneself.
    pub other: UserKey,
    /// The last message.
    pub message: LongText,
    /// When it was written.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_user() -> impl Strategy<Value = UserKey> {
        any::<u128>().prop_map(|id| UserKey::from(Uuid::from_u128(id)))
    }

    proptest! {
        #[test]
        fn two_users_have_one_conversation_and_no_other_two_have_it(
            a in any_user(), b in any_user(), c in any_user(),
        ) {
            prop_assert_eq!(conversation_uuid(a, b), conversation_uuid(b, a));
            prop_assert_eq!(conversation_uuid(a, b) == conversation_uuid(a, c), b == c);
        }
    }
}
