//! The caller's identity.

use super::{ApiError, Invalid, Request, validation::parsed_name};
use crate::{
    config::Local,
    domain::{Handle, Identity, TextError, UserKey},
};

/// The claim with a handle that the user has chosen. Id tokens of Cognito have it, access tokens do
/// not.
const CHOSEN_HANDLE: &str = "preferred_username";

/// Where a token's handle is otherwise, best first: in an id token, and in an access token.
const GIVEN_HANDLES: [&str; 2] = ["cognito:username", "username"];

/// The identity of a caller who writes, by the claims of the gateway's authorizer. An emulator has
/// no authorizer; the caller is then the user of the local run. Headers and bodies have no say in
/// it.
///
/// Fails if the token has a name that cannot be shown. A blank or long one is ignored.
pub fn identity(request: &Request, local: Option<&Local>) -> Result<Identity, ApiError> {
    let reader = reader(request, local)?;
    let name = match claim(request, "name").map(parsed_name) {
        Some(Err(invalid @ Invalid::DisplayNameInvalid(_))) => return Err(invalid.into()),
        name => name.and_then(Result::ok),
    };
    Ok(Identity { name, ..reader })
}

/// The same identity without the name, for requests that create no user.
pub fn reader(request: &Request, local: Option<&Local>) -> Result<Identity, ApiError> {
    let key = user_key(request, local)?;
    let handle = |name: &str| claim(request, name).filter(|text| !text.trim().is_empty());
    let chosen = handle(CHOSEN_HANDLE);
    let given = GIVEN_HANDLES.into_iter().find_map(handle);
    let handle = match (chosen.or(given), local) {
        (Some(text), _) => Handle::parse_exact(text).map_err(Invalid::TokenHandle)?,
        (None, Some(local)) if request.claims().is_none() => local.handle.clone(),
        (None, _) => return Err(Invalid::TokenHandle(TextError::Blank).into()),
    };
    Ok(Identity { key, handle, handle_is_chosen: chosen.is_some(), name: None })
}

/// The key of that identity alone, for requests that need no handle.
pub fn user_key(request: &Request, local: Option<&Local>) -> Result<UserKey, ApiError> {
    let key = match request.claims() {
        // The authorizer requires an issuer. Only events that no gateway made lack it.
        Some(_) => claim(request, "sub")
            .and_then(|sub| UserKey::of_token(claim(request, "iss").unwrap_or_default(), sub)),
        None => local.map(|local| UserKey::local(&local.handle)),
    };
    key.ok_or(ApiError::Unauthenticated)
}

fn claim<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.claims()?.get(name).map(String::as_str)
}
