//! Mentions and hashtags in a text, by the rules of the npm package `twitter-text`.
//!
//! One rule differs. A name there has ASCII letters only; a handle here has letters of any script,
//! and single dots and hyphens inside.

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript};

/// Characters of a hashtag that are neither letters, marks nor digits.
/// <https://github.com/twitter/twitter-text/blob/master/js/src/regexp/hashtagSpecialChars.js>
const TAG_SPECIALS: &str = "_\u{200c}\u{200d}\u{a67e}\u{5be}\u{5f3}\u{5f4}\u{ff5e}\u{301c}\u{309b}\
                            \u{309c}\u{30a0}\u{30fb}\u{3003}\u{f0b}\u{f0c}\u{b7}";

/// The ditto mark, which `twitter-text` counts as a letter.
const DITTO: char = '\u{3003}';

/// A mention or a hashtag.
#[derive(Debug)]
pub(super) struct Entity<'t> {
    /// `@` or `#`.
    pub(super) sign: char,
    /// The text behind the sign.
    pub(super) name: &'t str,
    /// Bytes of the text, with the sign.
    pub(super) range: Range<usize>,
}

/// The mentions and hashtags of a text in NFKC, in its order. In that form the full-width signs are
/// `@` and `#`.
pub(super) fn entities(text: &str) -> Vec<Entity<'_>> {
    let urls = urls(text);
    let signs = text.match_indices(['@', '#']);
    signs
        .filter(|(at, _)| !urls.iter().any(|url| url.contains(at)))
        .filter_map(|(at, sign)| {
            let (before, after) = (&text[..at], &text[at + 1..]);
            let (sign, name) = match sign {
                "@" => ('@', mention(before, after)?),
                _ => ('#', hashtag(before, after)?),
            };
            Some(Entity { sign, name, range: at..at + 1 + name.len() })
        })
        .collect()
}

/// Whether a character belongs to a script that is written without blanks between words.
pub(super) fn is_unspaced(char: char) -> bool {
    let unspaced = [
        Script::Han,
        Script::Hiragana,
        Script::Katakana,
        Script::Thai,
        Script::Lao,
        Script::Khmer,
        Script::Myanmar,
    ];
    // The mark for a long vowel belongs to two scripts, and so to none.
    char == 'ー' || unspaced.contains(&char.script())
}

fn mention<'t>(before: &str, after: &'t str) -> Option<&'t str> {
    let name = handle_at_start(after);
    let rest = &after[name.len()..];
    let is_address = rest.starts_with('@') || rest.starts_with("://");
    (!name.is_empty() && !is_address && may_precede_mention(before)).then_some(name)
}

/// The longest handle at the start. A handle that begins in a script with blanks ends before a
/// script without: `@usernameに到着` mentions `username`.
fn handle_at_start(text: &str) -> &str {
    let is_apart = |char: char| is_unspaced(char) || char.script() == Script::Hangul;
    let goes_on = !text.starts_with(is_apart);
    let is_letter = |char: char| {
        (char.is_alphanumeric() || is_combining_mark(char) || char == '_')
            && !(goes_on && is_apart(char))
    };
    let mut end = 0;
    for (at, char) in text.char_indices() {
        let follows_letter = at > 0 && at == end;
        match char {
            _ if is_letter(char) => end = at + char.len_utf8(),
            '.' | '-' if follows_letter => {}
            _ => break,
        }
    }
    &text[..end]
}

/// Inside a word the sign means something else, such as in `you@example.com`. `RT@worf` is an old
/// way to repeat an activity.
fn may_precede_mention(before: &str) -> bool {
    let joins = |char: char| {
        let is_part = char.is_alphanumeric() || is_combining_mark(char);
        is_part && !is_unspaced(char) && char.script() != Script::Hangul
    };
    match before.chars().next_back() {
        None => true,
        Some(char) if "_!#$%&*@".contains(char) => false,
        Some(char) => !joins(char) || ends_with_retweet(before),
    }
}

fn ends_with_retweet(before: &str) -> bool {
    let mut last = before.chars().rev();
    let is_retweet = [last.next(), last.next()]
        .map(|char| char.map(|char| char.to_ascii_lowercase()))
        == [Some('t'), Some('r')];
    is_retweet && !last.next().is_some_and(|char| char.is_alphanumeric() || "_+~.-".contains(char))
}

fn hashtag<'t>(before: &str, after: &'t str) -> Option<&'t str> {
    let is_part = |char: char| {
        char.is_alphanumeric() || is_combining_mark(char) || TAG_SPECIALS.contains(char)
    };
    let is_inside = before.ends_with(|char| is_part(char) || char == '&');
    let is_keycap = after.starts_with(['\u{fe0f}', '\u{20e3}']);
    let name = &after[..after.find(|char| !is_part(char)).unwrap_or(after.len())];
    let rest = &after[name.len()..];
    let is_address = rest.starts_with('#') || rest.starts_with("://");
    let has_letter = name.contains(|char: char| char.is_alphabetic() || char == DITTO);
    (has_letter && !is_inside && !is_keycap && !is_address).then_some(name)
}

/// The URLs of a text, with a scheme or as `example.com/…`, each up to a blank or to a script
/// without blanks.
fn urls(text: &str) -> Vec<Range<usize>> {
    let ends = |char: char| char.is_whitespace() || is_unspaced(char) || "<>\"".contains(char);
    let end_of = |from: usize| text[from..].find(ends).map_or(text.len(), |length| from + length);
    let with_scheme = text.match_indices("://").filter_map(|(at, _)| {
        let scheme = text[..at].trim_end_matches(|char: char| char.is_ascii_alphabetic()).len();
        (scheme < at).then(|| scheme..end_of(at))
    });
    let without = text.match_indices('/').filter_map(|(at, _)| {
        let is_host = |char: char| char.is_ascii_alphanumeric() || ".-".contains(char);
        let start = text[..at].trim_end_matches(is_host).len();
        let (host, top) = text[start..at].rsplit_once('.')?;
        let is_top = top.len() > 1 && top.chars().all(|char| char.is_ascii_alphabetic());
        (is_top && host.ends_with(|char: char| char.is_ascii_alphanumeric()))
            .then(|| start..end_of(at))
    });
    with_scheme.chain(without).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[derive(Deserialize)]
    struct Cases {
        mentions: Vec<Case>,
        hashtags: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        description: String,
        text: String,
        expected: Vec<String>,
    }

    /// The one case in which a handle here may have more letters than a name there.
    const WITH_ACCENT: &str = "@aliceìnheiro something something";

    fn names(text: &str, sign: char) -> Vec<String> {
        let text: String = text.nfkc().collect();
        let entities = entities(&text).into_iter().filter(|entity| entity.sign == sign);
        entities.map(|entity| entity.name.to_owned()).collect()
    }

    #[test]
    fn mentions_and_hashtags_are_those_of_the_cases_of_twitter_text() {
        let cases: Cases = serde_json::from_str(include_str!("twitter_text/cases.json")).unwrap();
        assert_eq!((cases.mentions.len(), cases.hashtags.len()), (26, 54));

        for (sign, cases) in [('@', cases.mentions), ('#', cases.hashtags)] {
            for Case { description, text, expected } in cases {
                let expected = match text.as_str() {
                    WITH_ACCENT => vec!["aliceìnheiro".to_owned()],
                    _ => expected.iter().map(|name| name.nfkc().collect()).collect(),
                };
                assert_eq!(names(&text, sign), expected, "{description}: {text}");
            }
        }
    }

    #[test]
    fn a_sign_in_a_url_or_in_an_address_makes_no_mention_and_no_hashtag() {
        for text in [
            "https://blog.example/@worf/post-1",
            "blog.example/@worf",
            "see ftp://worf:secret@host/#part",
            "@worf@social.example",
            "mail zoe@worf.example",
            "josé@worf.example",
            "&#xnot; #️⃣ #16 #_",
        ] {
            assert_eq!((names(text, '@'), names(text, '#')), (vec![], vec![]), "{text}");
        }
    }

    #[test]
    fn a_handle_ends_at_punctuation_and_at_a_script_without_blanks() {
        for text in [
            ".@worf this one is for all",
            "well...@worf",
            "ワーフは@worf",
            "ไปกับ@worf",
            "@worf은 여기",
            "(@worf)",
            "@worf's",
            "@worf... and",
            "@worf...and",
            "@worf.",
            "@worf, and/or so",
            "@worf/list-name",
            "＠worf",
            "https://blog.example/a @worf",
        ] {
            assert_eq!(names(text, '@'), ["worf"], "{text}");
        }
        assert_eq!(
            names("@andrew-b.c @άννα @東京太郎 @worf.@bayko", '@'),
            ["andrew-b.c", "άννα", "東京太郎", "worf", "bayko"]
        );
    }
}
