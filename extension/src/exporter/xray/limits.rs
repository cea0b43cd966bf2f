//! X-Ray's limits, and cutting text to them.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html#api-segmentdocuments-fields>

use std::borrow::Cow;

/// Most bytes of a document. The guide's "64 kB" may mean 64,000 or 65,536; the smaller also fits
/// into one datagram with the daemon's header.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64_000;

/// Most characters of a name.
pub(super) const MAX_NAME_CHARS: usize = 200;

/// Most characters of any other text outside metadata.
pub(super) const MAX_TEXT_CHARS: usize = 250;

/// Most annotations that X-Ray indexes per trace.
pub(super) const MAX_ANNOTATIONS: usize = 50;

/// Most exceptions of a document, and frames of each: with [`MAX_TEXT_CHARS`] they take at most a
/// third of a document.
pub(super) const MAX_EXCEPTIONS: usize = 4;
pub(super) const MAX_FRAMES: usize = 50;
/// Most bytes of a document's stacks, and of its annotations: a quarter of a document each.
pub(super) const MAX_BLOCK_BYTES: usize = 16_000;

/// Owned if the text was longer.
pub(super) fn cut(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => Cow::Owned(text[..end].to_owned()),
        None => Cow::Borrowed(text),
    }
}

pub(super) fn cut_field(text: &str) -> Cow<'_, str> {
    cut(text, MAX_TEXT_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("ééé", 2), "éé");
        assert_eq!(cut("ééé", 3), "ééé");
        assert!(matches!(cut(&"x".repeat(250), 250), Cow::Borrowed(_)));
    }
}
