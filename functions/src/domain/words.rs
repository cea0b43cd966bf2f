//! The words by which a text is found, and the users it mentions.
//!
//! Words are folded: case, accents and width make no difference. A search for `@worf` or `#tag`
//! works with the sign and without it. Scripts without blanks between words, such as Chinese and
//! Thai, are cut into pairs of neighbouring characters, so any part of two characters is found.

use std::collections::HashSet;

use caseless::Caseless;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};
use unicode_segmentation::UnicodeSegmentation;

use super::{
    Handle,
    entities::{Entity, entities, is_unspaced},
};

/// Most words by which one activity is found, so that it fits one transaction of the store.
const MAX_WORDS: usize = 64;

/// Most users that one activity notifies, for the same reason.
const MAX_MENTIONS: usize = 20;

/// Most characters of a word, because words are parts of store keys; longer words are cut.
const MAX_WORD_CHARS: usize = 64;

/// Shorter words are not indexed, except in scripts without blanks.
const MIN_WORD_CHARS: usize = 2;

/// Folded words that are not indexed, because most activities would be listed under them: function
/// words of English, German, French and Spanish. A word that is a content word in another
/// of these languages is left out, such as `die`, `war`, `son` and `con`. A search ignores them.
const STOP_WORDS: [&str; 52] = [
    "an", "and", "are", "as", "at", "be", "but", "by", "das", "der", "ein", "eine", "el", "en",
    "est", "et", "for", "from", "had", "has", "have", "ich", "if", "in", "is", "ist", "it", "la",
    "las", "le", "les", "los", "my", "nicht", "of", "on", "or", "que", "so", "that", "the", "this",
    "to", "un", "una", "und", "une", "was", "we", "were", "with", "you",
];

/// The first 64 different words of a text, in its order.
pub fn words(text: &str) -> Vec<String> {
    let text: String = text.nfkc().collect();
    let signed = entities(&text).into_iter().map(|entity| (entity.range.start, signed(&entity)));
    let mut found: Vec<(usize, String)> = signed.chain(plain_words(&text)).collect();
    found.sort_by_key(|(start, _)| *start);
    let mut words = distinct(found.into_iter().map(|(_, word)| word));
    words.truncate(MAX_WORDS);
    words
}

/// The words to search for: each word once, with its sign where one was typed.
pub fn search_words(term: &str) -> Vec<String> {
    let term: String = term.nfkc().collect();
    let entities = entities(&term);
    let is_signed = |start| entities.iter().any(|entity| entity.range.contains(&start));
    let plain = plain_words(&term).into_iter().filter(|(start, _)| !is_signed(*start));
    let signed = entities.iter().map(|entity| (entity.range.start, signed(entity)));
    let mut found: Vec<(usize, String)> = signed.chain(plain).collect();
    found.sort_by_key(|(start, _)| *start);
    distinct(found.into_iter().map(|(_, word)| word))
}

/// The first 20 different handles that a text mentions as `@handle`.
pub fn mentions(text: &str) -> Vec<Handle> {
    let text: String = text.nfkc().collect();
    let mut handles = Vec::new();
    for entity in entities(&text).iter().filter(|entity| entity.sign == '@') {
        let Ok(handle) = Handle::parse(entity.name) else { continue };
        if !handles.contains(&handle) {
            handles.push(handle);
        }
    }
    handles.truncate(MAX_MENTIONS);
    handles
}

fn distinct(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    words.filter(|word| seen.insert(word.clone())).collect()
}

fn signed(entity: &Entity<'_>) -> String {
    format!("{}{}", entity.sign, fold(entity.name))
}

/// The words of a text without their signs, each with the byte at which it starts.
fn plain_words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut run = 0..0; // of scripts without blanks
    for (start, word) in text.unicode_word_indices() {
        let end = start + word.len();
        if word.starts_with(is_unspaced) {
            if run.end != start {
                words.extend(pairs(run.start, &text[run]));
                run = start..start;
            }
            run.end = end;
        } else {
            words.extend(parts(start, word));
        }
    }
    words.extend(pairs(run.start, &text[run]));
    words.retain(|(_, word)| !STOP_WORDS.contains(&word.as_str()));
    words
}

/// The standard keeps `example.com` and `worf's` in one piece; people search for the parts.
/// Numbers stay whole.
fn parts(start: usize, word: &str) -> impl Iterator<Item = (usize, String)> {
    let is_number = !word.contains(char::is_alphabetic);
    let parts = word.split(move |char| !is_number && ".:'‘’".contains(char));
    parts.map(move |part| (start, fold(part))).filter(|(_, word)| {
        let chars = word.chars().count();
        chars >= MIN_WORD_CHARS
    })
}

/// Each pair of neighbouring characters, or the only character.
fn pairs(start: usize, run: &str) -> Vec<(usize, String)> {
    let folded = fold_all(run);
    let characters: Vec<&str> = folded.graphemes(true).collect();
    match characters[..] {
        [single] => vec![(start, cut(single))],
        _ => characters.windows(2).map(|pair| (start, cut(&pair.concat()))).collect(),
    }
}

fn fold(word: &str) -> String {
    cut(&fold_all(word))
}

fn cut(word: &str) -> String {
    word.chars().take(MAX_WORD_CHARS).collect()
}

/// Unicode's default case folding, without invisible characters and without accents.
fn fold_all(text: &str) -> String {
    let mut base = Script::Common;
    let is_kept = move |char: &char| {
        if is_combining_mark(*char) {
            return !matches!(
                base,
                Script::Latin | Script::Greek | Script::Cyrillic | Script::Common
            );
        }
        base = char.script();
        char.general_category() != GeneralCategory::Format
    };
    text.chars().default_case_fold().nfkd().filter(is_kept).nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handles(text: &str) -> Vec<String> {
        mentions(text).iter().map(Handle::to_string).collect()
    }

    fn is_found(text: &str, term: &str) -> bool {
        let (found_by, sought) = (words(text), search_words(term));
        !sought.is_empty() && sought.iter().all(|word| found_by.contains(word))
    }

    #[test]
    fn words_are_folded_and_listed_once_in_the_order_of_the_text() {
        assert_eq!(words("My CAFÉ, my café!"), ["cafe"]);
        assert_eq!(words("Ｆｕｌｌ e\u{301}te\u{301}"), ["full", "ete"]);
        assert_eq!(words("a I 7 42 3.14 日本"), ["42", "3.14", "日本"]);
        assert_eq!(words("worf's snake_case v1.25"), ["worf", "snake_case", "v1", "25"]);
        assert_eq!(words("🦀 1️⃣ !? ..."), [] as [&str; 0]);
    }

    #[test]
    fn a_sign_makes_another_word_beside_the_plain_one() {
        assert_eq!(words("@worf #Rust"), ["@worf", "worf", "#rust", "rust"]);
        assert_eq!(search_words("@worf #Rust your"), ["@worf", "#rust", "your"]);
        assert_eq!(words("your@example.com"), ["your", "example", "com"]);
    }

    #[test]
    fn case_and_accents_make_no_difference_but_vowels_and_voiced_letters_do() {
        for (text, term, found) in [
            ("ΟΔΟΣ", "οδος", true),
            ("ΟΔΌΣ", "οδός", true),
            ("Straße", "STRASSE", true),
            ("STRAẞE", "strasse", true),
            ("café", "cafe", true),
            ("Ёлка", "елка", true),
            ("می\u{200c}خواهم", "میخواهم", true),
            ("パパ", "ハハ", false),
            ("ﾊﾟﾊﾟ", "パパ", true),
            ("한국", "한굿", false),
            ("किताब", "कताब", false),
            ("की और", "का", false),
            ("தமிழ்", "தமழ", false),
            ("שָׁלוֹם", "שלום", false),
        ] {
            assert_eq!(is_found(text, term), found, "{text} {term}");
            assert!(is_found(text, text), "{text}");
        }
    }

    #[test]
    fn in_a_script_without_blanks_any_two_neighbouring_characters_are_found() {
        for (text, term, found) in [
            ("今日はいい天気です", "天気", true),
            ("今日はいい天気です", "いい天気", true),
            ("今日はいい天気です", "天候", false),
            ("日本語ハッシュタグ", "タグ", true),
            ("東京タワーは高い", "タワー", true),
            ("我喜欢 Rust语言", "语言", true),
            ("我喜欢 Rust语言", "rust", true),
            ("นักท่องเที่ยวไปสนามบิน", "สนามบิน", true),
            ("ຂ້ອຍຮັກລາວ", "ລາວ", true),
            ("ភាសាខ្មែរ", "ខ្មែរ", true),
            ("မြန်မာစာ", "မာစာ", true),
            ("猫 と 犬", "猫", true),
        ] {
            assert_eq!(is_found(text, term), found, "{text} {term}");
        }
    }

    #[test]
    fn a_stop_word_is_neither_indexed_nor_searched_for() {
        assert_eq!(words("The end of the world"), ["end", "world"]);
        assert_eq!(search_words("the end"), ["end"]);
        assert_eq!(search_words("to be"), [] as [&str; 0]);
        assert_eq!(words("#the"), ["#the"]);
        assert!(STOP_WORDS.is_sorted());
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
    fn words_mentions_and_the_characters_of_a_word_are_bounded() {
        let many: String = (10..99).map(|n| format!("@user{n} ")).collect();

        assert_eq!((words(&many).len(), mentions(&many).len()), (64, 20));
        assert_eq!(words(&"x".repeat(280)), ["x".repeat(64)]);
        assert_eq!(words(&"e\u{301}\u{301}".repeat(99)), ["e".repeat(64)]);
        let stacked = format!("か{}", "\u{9a4}".repeat(200));
        assert!(words(&stacked).iter().all(|word| word.chars().count() <= 64));
    }

    proptest! {
        #[test]
        fn a_text_is_found_by_each_part_that_is_searched_for(text: String) {
            let found_by = words(&text);
            prop_assume!(found_by.len() < MAX_WORDS);

            for word in search_words(&text) {
                prop_assert!(found_by.contains(&word), "{word:?} is not in {found_by:?}");
            }
        }
    }
}
