//! Users, and who is asking.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use super::{Bio, DisplayName, Handle};

/// Most bytes of a token's `sub`. A `sub` of Cognito has 36.
const MAX_SUB_BYTES: usize = 128;

/// Namespaces of [`UserKey`]: one for issuers of tokens, one for users of the local run. A change
/// gives every user another key.
const ISSUERS: Uuid = uuid!("5d0f3a3e-6d3a-4a9b-8f0e-6b1f9c0b7a10");
const LOCAL_USERS: Uuid = uuid!("0c8a1f57-2f0d-4e43-9a56-3f5c2f1e9d42");

/// The key of a user, which is also the user's public id: a uuid of version 5.
///
/// It is computed, so no look-up is needed, and the token's `sub` cannot be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserKey(Uuid);

impl UserKey {
    /// The key for a token's `iss` and `sub`. Two issuers may give the same `sub` to two users.
    ///
    /// `None` if the `sub` is blank or longer than any issuer's.
    pub fn of_token(issuer: &str, sub: &str) -> Option<Self> {
        let fits = !sub.trim().is_empty() && sub.len() <= MAX_SUB_BYTES;
        let issuer = Uuid::new_v5(&ISSUERS, issuer.as_bytes());
        fits.then(|| Self(Uuid::new_v5(&issuer, sub.as_bytes())))
    }

    /// The key of the local run's user, for requests without a token. It differs from the key of
    /// every token.
    pub fn local(handle: &Handle) -> Self {
        Self(Uuid::new_v5(&LOCAL_USERS, handle.as_str().as_bytes()))
    }

    /// Stands in for the author of a deleted text. No user has this key.
    pub fn gone() -> Self {
        Self(Uuid::nil())
    }

    /// The public id.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for UserKey {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The caller, as the gateway's claims identify them. The [`User`] may not exist yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Their key.
    pub key: UserKey,
    /// The handle in their token. Another user may have it.
    pub handle: Handle,
    /// Whether they have chosen that handle themselves. Where not, the token only says what they
    /// are called until they choose one, and tokens of one user may differ in it.
    pub handle_is_chosen: bool,
    /// The name that they gave where they signed up.
    pub name: Option<DisplayName>,
}

/// A user; made on their first write.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Their key and public id.
    pub key: UserKey,
    /// Their handle.
    pub handle: Handle,
    /// How they want to be called.
    pub display_name: DisplayName,
    /// What they say about themselves, if anything.
    pub bio: Option<Bio>,
}

/// How much a user has ever published. Deleted and expired texts count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// Activities.
    pub activities: u64,
    /// Replies.
    pub replies: u64,
}

/// The names of a user at the time of reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// The handle.
    pub handle: Handle,
    /// The display name.
    pub display_name: DisplayName,
}

/// The names of the users of a page. A user who does not exist any more is shown as gone.
#[derive(Clone, Debug)]
pub struct People {
    known: HashMap<UserKey, Names>,
    gone: Names,
}

impl People {
    /// The names of these users.
    pub fn new(users: impl IntoIterator<Item = User>) -> Self {
        let named =
            |user: User| (user.key, Names { handle: user.handle, display_name: user.display_name });
        let gone = Names { handle: Handle::gone(), display_name: DisplayName::gone() };
        Self { known: users.into_iter().map(named).collect(), gone }
    }

    /// The names of a user; those of [`Handle::gone`] for a missing one.
    pub fn names_of(&self, user: UserKey) -> &Names {
        self.known.get(&user).unwrap_or(&self.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "https://cognito-idp.ca-central-1.amazonaws.com/ca-central-1_AbCdEfGhI";

    #[test]
    fn the_key_is_the_issuers_and_the_subjects_and_is_the_same_in_every_release() {
        let key = UserKey::of_token(POOL, "5f0c1c52-8a3e-4d0b-9c57-2f6f1f7d9a31").unwrap();

        assert_eq!(key.to_string(), "5958c9eb-88fb-52f6-8e1e-a765608a85ce");
        assert_eq!(key.uuid().get_version_num(), 5);
        for (issuer, sub) in [(POOL, "5f0c1c52"), ("", "5f0c1c52"), (&POOL[1..], "5f0c1c52")] {
            assert_ne!(UserKey::of_token(issuer, sub), Some(key));
        }
        assert_ne!(UserKey::of_token("ab", "c"), UserKey::of_token("a", "bc"));
        let local = Handle::parse("c").unwrap();
        assert_ne!(UserKey::of_token("local", "c"), Some(UserKey::local(&local)));
    }

    #[test]
    fn a_subject_that_is_blank_or_endless_makes_no_key() {
        for sub in ["", " ", "\t\n", &"x".repeat(129)] {
            assert_eq!(UserKey::of_token(POOL, sub), None, "{sub:?}");
        }
        assert!(UserKey::of_token(POOL, &"x".repeat(128)).is_some());
    }
}
