//! The words by which a text is found, and the users it mentions.
//!
//! Words are folded: capitals, accents and width make no difference. A search for `@worf` or `#tag`
//! works with the sign and without it.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::Handle;

/// Most words by which one activity is found, so that it fits one transaction of the store.
const MAX_WORDS: usize = 64;

/// Most users that one activity notifies, for the same reason.
const MAX_MENTIONS: usize = 20;

/// Most characters of a word, because words are parts of store keys; longer words are cut.
const MAX_WORD_CHARS: usize = 64;

/// Shorter ones are not looked for.
const MIN_WORD_CHARS: usize = 2;

/// The first 64 different words of a text, in its order.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in tokens(text) {
        let signed = token.sign.map(|sign| format!("{sign}{}", token.word));
        for word in signed.into_iter().chain([token.word]) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words.truncate(MAX_WORDS);
    words
}

/// What to look for: each word once, with its sign where one was typed.
pub fn search_words(term: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in tokens(term) {
        let word = match token.sign {
            Some(sign) => format!("{sign}{}", token.word),
            None => token.word,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// The first 20 different handles that a text mentions as `@handle`.
pub fn mentions(text: &str) -> Vec<Handle> {
    let mut handles = Vec::new();
    for raw in signed_runs(text).filter_map(|(sign, raw)| (sign == Some('@')).then_some(raw)) {
        let Ok(handle) = Handle::parse(raw.trim_end_matches(['.', '-'])) else { continue };
        if !handles.contains(&handle) {
            handles.push(handle);
        }
    }
    handles.truncate(MAX_MENTIONS);
    handles
}

struct Token {
    sign: Option<char>,
    word: String,
}

fn tokens(text: &str) -> impl Iterator<Item = Token> {
    signed_runs(text).flat_map(|(sign, run)| {
        let mut sign = sign;
        let parts: Vec<Token> = run
            .split(['.', '-'])
            .filter_map(|part| {
                let word = fold(part);
                let long_enough = word.chars().count() >= MIN_WORD_CHARS;
                long_enough.then(|| Token { sign: sign.take(), word })
            })
            .collect();
        parts
    })
}

/// Runs of characters that words and handles are made of, each with the `@` or `#` before it.
/// Within a word the sign means something else: `you@example.com`.
fn signed_runs(text: &str) -> impl Iterator<Item = (Option<char>, &str)> {
    let is_part =
        |char: char| char.is_alphanumeric() || is_combining_mark(char) || "_.-".contains(char);
    let mut rest = text;
    let mut before = None;
    std::iter::from_fn(move || {
        let start = rest.find(is_part)?;
        let mut passed = rest[..start].chars().rev();
        let sign = passed.next().filter(|char| "@#".contains(*char));
        let in_word = passed.next().or(before).is_some_and(is_part);
        let run = &rest[start..];
        let end = run.find(|char| !is_part(char)).unwrap_or(run.len());
        before = run[..end].chars().next_back();
        rest = &run[end..];
        Some((sign.filter(|_| !in_word), &run[..end]))
    })
}

fn fold(word: &str) -> String {
    let plain = word.nfkd().filter(|char| !is_combining_mark(*char));
    plain.flat_map(char::to_lowercase).take(MAX_WORD_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handles(text: &str) -> Vec<String> {
        mentions(text).iter().map(Handle::to_string).collect()
    }

    #[test]
    fn words_are_folded_and_told_once_in_the_order_of_the_text() {
        assert_eq!(words("The CAFÉ, the café!"), ["the", "cafe"]);
        assert_eq!(words("Ｆｕｌｌ e\u{301}te\u{301}"), ["full", "ete"]);
        assert_eq!(words("a I 7 42 日本"), ["42", "日本"]);
        assert_eq!(words("🦀 !? ..."), [] as [&str; 0]);
    }

    #[test]
    fn a_sign_makes_another_word_beside_the_plain_one() {
        assert_eq!(words("@worf #Rust"), ["@worf", "worf", "#rust", "rust"]);
        assert_eq!(search_words("@worf #Rust you"), ["@worf", "#rust", "you"]);
        assert_eq!(words("you@example.com"), ["you", "example", "com"]);
    }

    #[test]
    fn mentions_are_handles_with_a_sign_before_them() {
        assert_eq!(
            handles("@Worf, ask @andrew-b or @bayko. And @worf"),
            ["worf", "andrew-b", "bayko"]
        );
        assert_eq!(handles("you@example.com @ #worf"), [] as [&str; 0]);
    }

    #[test]
    fn there_is_a_most_of_words_and_of_mentions_and_of_a_words_characters() {
        let many: String = (10..99).map(|n| format!("@user{n} ")).collect();

        assert_eq!((words(&many).len(), mentions(&many).len()), (64, 20));
        assert_eq!(words(&"x".repeat(280)), ["x".repeat(64)]);
    }

    proptest! {
        #[test]
        fn a_text_is_found_by_whatever_part_of_it_is_searched_for(text: String) {
            let found_by = words(&text);
            prop_assume!(found_by.len() < MAX_WORDS);

            for word in search_words(&text) {
                prop_assert!(found_by.contains(&word), "{word:?} is not in {found_by:?}");
            }
        }
    }
}
