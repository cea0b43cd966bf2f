//! Texts that people write: parsed once, on the way in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most characters of a crud, counted as code points: 280 emoji fit.
pub const MAX_MESSAGE_CHARS: usize = 280;

/// A user's name in URLs: "andrew". The `@` belongs to the URL, not to the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(String);

/// The text of a crud: 1 to [`MAX_MESSAGE_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageText(String);

/// Why a text was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing was written.
    #[error("the text is blank")]
    Blank,
    /// More was written than fits.
    #[error("the text has {chars} characters")]
    TooLong {
        /// How many characters it has.
        chars: usize,
    },
    /// A handle holds a character that means something in a URL's path.
    #[error("a handle may not hold {0:?}")]
    Forbidden(char),
}

impl Handle {
    /// Accepts blanks and any script, but none of `% / ? #`: handles are parts of a path, which
    /// a gateway or an emulator may or may not have decoded.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.trim().is_empty() {
            return Err(TextError::Blank);
        }
        match text.chars().find(|char| "%/?#".contains(*char)) {
            Some(char) => Err(TextError::Forbidden(char)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl MessageText {
    /// Accepts anything that is neither empty nor too long, control characters included.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match text.chars().count() {
            0 => Err(TextError::Blank),
            chars if chars > MAX_MESSAGE_CHARS => Err(TextError::TooLong { chars }),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_280_emoji_and_not_one_more() {
        assert!(MessageText::parse(&"🦀".repeat(280)).is_ok());
        let too_long = MessageText::parse(&"🦀".repeat(281));
        assert_eq!(too_long, Err(TextError::TooLong { chars: 281 }));
        assert_eq!(MessageText::parse(""), Err(TextError::Blank));
    }

    #[test]
    fn a_handle_may_hold_blanks_but_nothing_that_a_path_would_misread() {
        assert!(Handle::parse("andrew brown").is_ok());
        assert!(Handle::parse("łondo").is_ok());
        assert_eq!(Handle::parse(" "), Err(TextError::Blank));
        assert_eq!(Handle::parse("50%"), Err(TextError::Forbidden('%')));
    }
}
