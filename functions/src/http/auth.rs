//! The caller's identity.

use super::{ApiError, Invalid, Request};
use crate::{
    config::Local,
    domain::{DisplayName, Handle, Identity, TextError, UserKey},
};

/// The claim with a handle that the user has chosen. Id tokens of Cognito have it, access tokens do
/// not.
const CHOSEN_HANDLE: &str = "preferred_username";

/// Where a token's handle is otherwise, best first: in an id token, and in an access token.
const GIVEN_HANDLES: [&str; 2] = ["cognito:username", "username"];

/// The identity that the gateway vouches for; under an emulator, which has no authorizer, that of
/// the local run. Headers and bodies have no say in it.
pub fn identity(request: &Request, local: Option<&Local>) -> Result<Identity, ApiError> {
    let key = user_key(request, local)?;
    let claim = |name: &str| request.claims()?.get(name).map(String::as_str);
    let handle = |name: &str| claim(name).filter(|text| !text.trim().is_empty());
    let chosen = handle(CHOSEN_HANDLE);
    let given = GIVEN_HANDLES.into_iter().find_map(handle);
    let handle = match (chosen.or(given), local) {
        (Some(text), _) => Handle::parse_exact(text).map_err(Invalid::TokenHandle)?,
        (None, Some(local)) if request.claims().is_none() => local.handle.clone(),
        (None, _) => return Err(Invalid::TokenHandle(TextError::Blank).into()),
    };
    let name = claim("name").and_then(|name| DisplayName::parse(name.trim()).ok());
    Ok(Identity { key, handle, handle_is_chosen: chosen.is_some(), name })
}

/// The key of that identity alone, for requests that no handle plays a part in.
pub fn user_key(request: &Request, local: Option<&Local>) -> Result<UserKey, ApiError> {
    let key = match request.claims() {
        Some(claims) => claims.get("sub").and_then(|sub| UserKey::parse(sub)),
        None => local.map(|local| UserKey::local(&local.handle)),
    };
    key.ok_or(ApiError::Unauthenticated)
}
