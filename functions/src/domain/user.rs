//! Users, and who is asking.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Bio, DisplayName, Handle};

/// Most bytes of a [`UserKey`], which is part of store keys. A `sub` of Cognito has 36.
const MAX_KEY_BYTES: usize = 128;

/// What identifies a user for good: the token's `sub`. Never shown to others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserKey(String);

impl UserKey {
    /// `None` if it is blank or longer than any issuer's.
    pub fn parse(sub: &str) -> Option<Self> {
        let fits = !sub.trim().is_empty() && sub.len() <= MAX_KEY_BYTES;
        fits.then(|| Self(sub.to_owned()))
    }

    /// The key of the local run's user, for requests without a token. It differs from every
    /// issuer's `sub`.
    pub fn local(handle: &Handle) -> Self {
        Self(format!("local:{handle}"))
    }

    /// As it stands in keys of the store.
    pub fn as_str(&self) -> &str {
        &self.0
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
    /// Their key.
    pub key: UserKey,
    /// Their public id.
    pub uuid: Uuid,
    /// Their handle.
    pub handle: Handle,
    /// How they want to be called.
    pub display_name: DisplayName,
    /// What they say about themselves, if anything.
    pub bio: Option<Bio>,
}
