//! Texts that people write: parsed once, on the way in.

use std::fmt;

use caseless::Caseless;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Most characters of an activity, counted as code points: 280 emoji fit.
const MAX_MESSAGE_CHARS: usize = 280;

/// Most characters of a reply and of a message.
const MAX_LONG_CHARS: usize = 1024;

/// Most characters of a handle, as many as a Cognito user name has.
/// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminCreateUser.html>
const MAX_HANDLE_CHARS: usize = 128;

/// Most characters of a display name. Nothing outside sets a limit; 64 fit one line of the page.
const MAX_NAME_CHARS: usize = 64;

/// A user's name in URLs: "andrew". The `@` belongs to the URL, not to the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(String);

/// The name of a user beside the handle: 1 to 64 characters in one line, of which one is visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DisplayName(Text<MAX_NAME_CHARS>);

/// Something written by a user: 1 to `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

/// The text of an activity.
pub type MessageText = Text<MAX_MESSAGE_CHARS>;

/// The text of a reply or a message.
pub type LongText = Text<MAX_LONG_CHARS>;

/// What a user says about themselves. The limit of 280 is that of an activity.
pub type Bio = Text<280>;

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
    /// A handle holds a character that means something in a URL's path or cannot be seen; a name
    /// holds one that ends the line or sets its direction.
    #[error("the text may not hold {0:?}")]
    Forbidden(char),
    /// A name has only characters that show nothing.
    #[error("the text shows nothing")]
    Invisible,
    /// The handle of [`Handle::gone`].
    #[error("the handle stands for users who are gone")]
    Reserved,
    /// Another spelling of a handle, in a place that accepts only the handle itself.
    #[error("the text differs from its handle in more than case")]
    LookAlike,
}

impl Handle {
    /// Accepts blanks and any script. Refuses `% / ? # \`, `.` and `..`: handles are parts of a
    /// path, which clients and gateways decode, split and shorten.
    ///
    /// Folds case (Unicode default case folding), width and the encoding of accents (NFKC) and runs
    /// of blanks, and strips blanks around the handle and an `@` before it. Refuses invisible characters: control, format and
    /// unassigned characters, and blank letters. Letters of two scripts that look alike stay
    /// different.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let plain = folded(text);
        let words: Vec<&str> = plain.split_whitespace().collect();
        let handle = words.join(" ").trim_start_matches(['@', ' ']).to_owned();
        match handle.chars().count() {
            0 => return Err(TextError::Blank),
            chars if chars > MAX_HANDLE_CHARS => return Err(TextError::TooLong { chars }),
            _ => {}
        }
        if handle == "." || handle == ".." {
            return Err(TextError::Forbidden('.')); // URLs leave these parts of a path out
        }
        match handle.chars().find(|char| "%/?#\\".contains(*char) || is_invisible(*char)) {
            Some(char) => Err(TextError::Forbidden(char)),
            None => Ok(Self(handle)),
        }
    }

    /// Accepts only text that [`Handle::parse`] changes in nothing but case.
    ///
    /// An issuer of tokens may hold `andrew`, `@andrew` and `ａndrew` to be three users. Each of
    /// them would get the same handle from `parse`.
    pub fn parse_exact(text: &str) -> Result<Self, TextError> {
        let handle = Self::parse(text)?;
        if handle == Self::gone() {
            return Err(TextError::Reserved);
        }
        // The sign for kelvin folds to an ordinary k, so case alone does not decide.
        let is_exact = text.nfkc().eq(text.chars()) && folded(text) == handle.0;
        if is_exact { Ok(handle) } else { Err(TextError::LookAlike) }
    }

    /// Stands in for the handle of a user who does not exist any more. No user can have it.
    pub fn gone() -> Self {
        Self("(gone)".to_owned())
    }

    /// As it is written in keys and replies.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The form in which texts are compared without regard to case, width and the encoding of accents.
/// <https://www.unicode.org/versions/latest/core-spec/chapter-3/#G53253> (D146)
fn folded(text: &str) -> String {
    text.nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect()
}

impl DisplayName {
    /// Refuses control characters, and those that set the direction of the text behind the name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let name = Text::parse(text)?;
        if text.trim().is_empty() {
            return Err(TextError::Blank);
        }
        if let Some(char) = text.chars().find(|char| turns_text(*char) || breaks_line(*char)) {
            return Err(TextError::Forbidden(char));
        }
        match text.chars().all(|char| char.is_whitespace() || is_invisible(char)) {
            true => Err(TextError::Invisible),
            false => Ok(Self(name)),
        }
    }

    /// Stands in for the name of a user who does not exist any more.
    pub fn gone() -> Self {
        Self(Text("Gone".to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The property Bidi_Control.
/// <https://www.unicode.org/Public/UCD/latest/ucd/PropList.txt>
fn turns_text(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn breaks_line(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// Whether a character shows nothing, or nothing that is known.
fn is_invisible(char: char) -> bool {
    // Those of Unicode's Default_Ignorable_Code_Point that are marks or letters, and a blank
    // symbol.
    // <https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>
    let is_blank = matches!(char,
        '\u{034f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}');
    // Control, format, surrogate, private use, unassigned.
    is_blank || char.general_category_group() == GeneralCategoryGroup::Other
}

impl<const MAX: usize> Text<MAX> {
    /// Accepts anything that is neither empty nor too long, control characters included.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match text.chars().count() {
            0 => Err(TextError::Blank),
            chars if chars > MAX => Err(TextError::TooLong { chars }),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// Stands in for a text that its author has deleted: the empty text, which no user can write.
    pub fn deleted() -> Self {
        Self(String::new())
    }

    /// Whether it is [`Text::deleted`].
    pub fn is_deleted(&self) -> bool {
        self.0.is_empty()
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_taken_as_it_is_up_to_its_limit_in_code_points(text: String, more in 0..300_usize) {
            let text = text + &"🦀".repeat(more);
            let chars = text.chars().count();

            let expected = match chars {
                0 => Err(TextError::Blank),
                1..=280 => Ok(text.clone()),
                _ => Err(TextError::TooLong { chars }),
            };

            prop_assert_eq!(MessageText::parse(&text).map(|text| text.to_string()), expected);
        }

        #[test]
        fn a_handle_is_the_same_however_it_is_written(text in "[@ A-Z]{0,2}(\\PC|[\u{300}-\u{36f}]){0,9}") {
            if let Ok(handle) = Handle::parse(&text) {
                prop_assert_eq!(Handle::parse(handle.as_str()), Ok(handle.clone()));
                for same in [text.nfc().collect(), text.nfd().collect(), format!(" @{text}\u{a0}")] {
                    let same: String = same;
                    prop_assert_eq!(Handle::parse(&same), Ok(handle.clone()));
                }
            }
        }
    }

    #[test]
    fn every_character_alone_is_one_handle_or_none() {
        for char in '\0'..=char::MAX {
            if let Ok(handle) = Handle::parse(&char.to_string()) {
                assert_eq!(Handle::parse(handle.as_str()), Ok(handle), "{char:?}");
            }
        }
    }

    #[test]
    fn what_looks_the_same_is_the_same_handle() {
        let zoe = Handle::parse("zoë brown").unwrap();
        for same in [
            "zoe\u{308} brown",
            "Zoë\u{a0}Brown",
            "ｚｏë brown",
            "ZOË  BROWN",
            "zoë\tbrown",
            "＠zoë brown",
            "zoë\u{3000}brown",
            " @ zoë brown\n",
            "zoë\u{2028}brown",
            "zoë\u{1680}brown",
        ] {
            assert_eq!(Handle::parse(same), Ok(zoe.clone()), "{same:?}");
        }
        for (one, other) in
            [("οδός", "ΟΔΌΣ"), ("ΟΔΟΣ", "οδος"), ("straße", "STRASSE"), ("ẞ", "ß"), ("Ꭰ", "ꭰ")]
        {
            assert_eq!(Handle::parse(one), Handle::parse(other), "{one} {other}");
            assert_eq!(Handle::parse_exact(one), Handle::parse(other), "{one} {other}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_in_no_handle() {
        for hidden in [
            '\0',
            '\u{1b}',
            '\u{7f}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{e000}',
            '\u{ffff}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10ffff}',
        ] {
            let refused = Handle::parse(&format!("wo{hidden}rf"));
            assert!(matches!(refused, Err(TextError::Forbidden(_))), "{hidden:?}: {refused:?}");
        }
        for path in
            ["an／drew", "50％", "℀", "who？", "＃1", "a\\b", "a＼b", ".", "..", "․", "@.", " .. "]
        {
            assert!(matches!(Handle::parse(path), Err(TextError::Forbidden(_))), "{path}");
        }
        assert!(Handle::parse("...").is_ok() && Handle::parse(".a").is_ok());
        assert_eq!(Handle::parse(&"ﷺ".repeat(8)), Err(TextError::TooLong { chars: 144 }));
    }

    #[test]
    fn a_token_handle_may_differ_from_the_stored_one_in_case_alone() {
        for (text, handle) in [
            ("andrew", "andrew"),
            ("Andrew Brown", "andrew brown"),
            ("ZOË", "zoë"),
            ("J\u{30c}", "\u{1f0}"), // the small letter is one code point
            ("İ", "i\u{307}"),
        ] {
            assert_eq!(Handle::parse_exact(text).unwrap().as_str(), handle, "{text:?}");
        }
        for look_alike in [
            "@andrew",
            "＠andrew",
            "ａndrew",
            " andrew",
            "andrew\n",
            "andrew  brown",
            "andrew\u{a0}brown",
            "zoe\u{308}",
            "\u{212a}irk", // the sign for kelvin: its small letter is an ordinary k
            "wor\u{fb00}",
        ] {
            let refused = Handle::parse_exact(look_alike);
            assert_eq!(refused, Err(TextError::LookAlike), "{look_alike:?}");
        }
        assert_eq!(Handle::parse_exact("an\u{200b}drew"), Err(TextError::Forbidden('\u{200b}')));
        assert_eq!(Handle::parse_exact("@"), Err(TextError::Blank));
        assert_eq!(Handle::parse_exact("(GONE)"), Err(TextError::Reserved));
    }

    #[test]
    fn a_name_shows_something_in_one_line_and_leaves_the_line_its_direction() {
        for name in ["Zoë", "山田", "🖖🏽", "👩\u{200d}🚀", "שרה", "a\u{200b}b", "❤\u{fe0f}", " a "]
        {
            assert_eq!(DisplayName::parse(name).unwrap().as_str(), name);
        }
        for hidden in ["\u{200b}", "\u{3164}", "\u{2800}", "\u{ad}\u{feff}", "\u{200d} \u{fe0f}"] {
            assert_eq!(DisplayName::parse(hidden), Err(TextError::Invisible), "{hidden:?}");
        }
        for char in "\0\n\r\t\u{1b}\u{7f}\u{85}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2028}\u{2029}\u{2066}\u{2069}".chars() {
            let refused = DisplayName::parse(&format!("a{char}b"));
            assert_eq!(refused, Err(TextError::Forbidden(char)), "{char:?}");
        }
        assert_eq!(DisplayName::parse(" \t"), Err(TextError::Blank));
        assert_eq!(DisplayName::parse(&"x".repeat(65)), Err(TextError::TooLong { chars: 65 }));
    }

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
        assert_eq!(Handle::parse(" @Worf "), Handle::parse("worf"));
        assert!(Handle::parse("łondo").is_ok());
        assert_eq!(Handle::parse(" "), Err(TextError::Blank));
        assert_eq!(Handle::parse("50%"), Err(TextError::Forbidden('%')));
        assert_eq!(Handle::parse(" Worf "), Handle::parse("worf"));
        assert!(Handle::parse(&"ł".repeat(128)).is_ok());
        assert_eq!(Handle::parse(&"a".repeat(129)), Err(TextError::TooLong { chars: 129 }));
    }
}
