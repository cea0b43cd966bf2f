//! The proxy's URL.

use http::Uri;
use percent_encoding::percent_decode_str;

/// `http://[user:password@]host[:port]`, with the scheme. The reason of an error shows nothing of the URL.
pub(super) fn parse(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "is not http://host:port or http://user:password@host:port, so no https \
                        destination is reached but those of NO_PROXY";
    let url = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let uri: Uri = url.parse().map_err(|_| FORM)?;
    let authority = uri.authority().ok_or(FORM)?.as_str();
    let (user, host_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = uri.host().unwrap_or_default();
    // The port of an authority is not checked when a URL is parsed.
    let has_port = match host_port.strip_prefix(host) {
        Some("") => true,
        Some(_) => uri.port_u16().is_some_and(|port| port > 0),
        None => false,
    };
    let is_bare = matches!(uri.path_and_query().map(|it| it.as_str()), None | Some("" | "/"));
    if uri.scheme_str() != Some("http") || host.is_empty() || !has_port || !is_bare {
        return Err(FORM);
    }
    if user.contains('@') || percent_decode_str(user).decode_utf8().is_err() {
        return Err(
            "has a user or password that is not percent-encoded UTF-8, so no https destination is \
                    reached but those of NO_PROXY",
        );
    }
    Ok(format!("http://{authority}"))
}
