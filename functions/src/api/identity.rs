//! Who is asking.

use super::{ApiError, Invalid, Request};
use crate::{
    config::Local,
    domain::{DisplayName, Handle, Identity, TextError, UserKey},
};

/// Where a token's handle is, best first: id tokens of Cognito have the first two, access tokens
/// the last.
const HANDLE_CLAIMS: [&str; 3] = ["preferred_username", "cognito:username", "username"];

/// The identity that the gateway vouches for; under an emulator, which has no authorizer, that of
/// the local run. Headers and bodies have no say in it.
pub fn identity(request: &Request, local: Option<&Local>) -> Result<Identity, ApiError> {
    let Some(claims) = request.claims() else {
        let local = local.ok_or(ApiError::Unauthenticated)?;
        let (key, handle) = (UserKey::local(&local.handle), local.handle.clone());
        return Ok(Identity { key, handle, name: None });
    };
    let claim = |name: &str| claims.get(name).map(String::as_str);
    let key = claim("sub").and_then(UserKey::parse).ok_or(ApiError::Unauthenticated)?;
    let handle = HANDLE_CLAIMS.into_iter().filter_map(claim).find(|text| !text.trim().is_empty());
    let handle = handle.ok_or(TextError::Blank).and_then(Handle::parse);
    let handle = handle.map_err(Invalid::TokenHandle)?;
    let name = claim("name").and_then(|name| DisplayName::parse(name.trim()).ok());
    Ok(Identity { key, handle, name })
}
