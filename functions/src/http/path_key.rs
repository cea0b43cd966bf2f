//! `{key}`: what a path names where it may be a handle or an id.
//!
//! A path part of an HTTP API is a literal or a whole variable, so one route serves both.

use uuid::Uuid;

use super::{ApiError, Invalid, Missing, Request};
use crate::domain::{Handle, TextError};

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub enum PathKey {
    /// `@handle`.
    Handle(Handle),
    /// An id.
    Uuid(Uuid),
}

impl PathKey {
    /// Reads the variable `key` of the path. A value that is neither a handle nor an id gets the
    /// same 404 as an unknown id.
    pub fn of(request: &Request, missing: Missing) -> Result<Self, ApiError> {
        let key = request.path_parameter("key");
        match key.strip_prefix('@') {
            Some(handle) => path_handle(handle).map(Self::Handle),
            None => parse_uuid(&key).map(Self::Uuid).ok_or(ApiError::NotFound(missing)),
        }
    }

    /// Reads the variable `key` where it is an id only.
    pub fn uuid(request: &Request, missing: Missing) -> Result<Uuid, ApiError> {
        parse_uuid(&request.path_parameter("key")).ok_or(ApiError::NotFound(missing))
    }
}

/// A handle out of a path, without its `@`.
pub fn path_handle(text: &str) -> Result<Handle, ApiError> {
    Handle::parse(text).map_err(|error| match error {
        TextError::Blank => Invalid::PathHandleBlank.into(),
        _ => ApiError::NotFound(Missing::User),
    })
}

/// An id in its usual form only, with hyphens.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}
