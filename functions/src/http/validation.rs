//! Errors in the content of a well-formed request.

use crate::domain::{DisplayName, TextError};

/// Why a request was refused with 422. `Display` is for the log and never holds what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No message, or nothing in it, or no text.
    #[error("the message is blank")]
    MessageBlank,
    /// Too long a message.
    #[error("the message is too long: {0}")]
    MessageTooLong(TextError),
    /// The message has no receiver.
    #[error("the receiver is blank")]
    ReceiverBlank,
    /// No life, or none of the seven.
    #[error("the time to live is not one of the seven values")]
    TtlBlank,
    /// Nothing to search for.
    #[error("the search term is blank")]
    SearchTermBlank,
    /// The path has an `@` and no handle behind it.
    #[error("the handle in the path is blank")]
    PathHandleBlank,
    /// The token has no handle, or its handle is too long, looks like another or cannot be part of
    /// a path.
    #[error("the token has no handle that can be used: {0}")]
    TokenHandle(TextError),
    /// No name, or nothing in it.
    #[error("the display name is blank")]
    DisplayNameBlank,
    /// A name that shows nothing, or turns the text around it.
    #[error("the display name cannot be shown: {0}")]
    DisplayNameInvalid(TextError),
    /// Too long a name.
    #[error("the display name is too long: {0}")]
    DisplayNameTooLong(TextError),
    /// The bio is not a text.
    #[error("the bio is not a text")]
    BioNoText,
    /// Too much to say about oneself.
    #[error("the bio is too long: {0}")]
    BioTooLong(TextError),
    /// The idempotency key belongs to another request.
    #[error("the idempotency key has been used for another request")]
    IdempotencyKeyReused,
}

impl Invalid {
    /// The word that the page knows it by.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Invalid::MessageBlank => "message_blank",
            Invalid::MessageTooLong(_) => "message_exceed_max_chars",
            Invalid::ReceiverBlank => "user_reciever_handle_blank", // sic: the original's spelling
            Invalid::TtlBlank => "ttl_blank",
            Invalid::SearchTermBlank => "search_term_blank",
            Invalid::PathHandleBlank => "blank_user_handle", // in the original's order of words
            Invalid::TokenHandle(TextError::Blank) => "user_handle_blank",
            Invalid::TokenHandle(TextError::TooLong { .. }) => "user_handle_exceed_max_chars",
            Invalid::TokenHandle(_) => "user_handle_invalid",
            Invalid::DisplayNameBlank => "display_name_blank",
            Invalid::DisplayNameInvalid(_) => "display_name_invalid",
            Invalid::DisplayNameTooLong(_) => "display_name_exceed_max_chars",
            Invalid::BioNoText => "bio_invalid",
            Invalid::BioTooLong(_) => "bio_exceed_max_chars",
            Invalid::IdempotencyKeyReused => "idempotency_key_reused",
        }
    }
}

/// The parsed display name, or the reason for refusing it.
pub fn parsed_name(text: &str) -> Result<DisplayName, Invalid> {
    DisplayName::parse(text.trim()).map_err(|error| match error {
        TextError::Blank => Invalid::DisplayNameBlank,
        TextError::TooLong { .. } => Invalid::DisplayNameTooLong(error),
        _ => Invalid::DisplayNameInvalid(error),
    })
}

/// The parsed message of a body, or the reason for refusing it.
pub fn parsed_message<T>(parsed: Result<T, TextError>) -> Result<T, Invalid> {
    parsed.map_err(|error| match error {
        TextError::Blank => Invalid::MessageBlank,
        too_long => Invalid::MessageTooLong(too_long),
    })
}
