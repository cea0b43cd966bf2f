//! Errors as RFC 9457 describes them, for clients whose `Accept` names that form.

use serde::Serialize;

use super::{ApiError, Response, weights::weights};

const MEDIA_TYPE: &str = "application/problem+json";

#[derive(Serialize)]
struct Problem<'a> {
    /// The kind is in `code`, so the title is that of the status.
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

/// Whether the header `Accept` names the form. A wildcard gets the array that pages expect.
pub(super) fn is_accepted(accept: &str) -> bool {
    weights(accept).any(|(name, is_accepted)| name == MEDIA_TYPE && is_accepted)
}

/// The reply to a failed request in this form, with the trace that its headers name.
pub(super) fn of(error: &ApiError, reply: Response) -> Response {
    let (status, code) = error.status_and_code();
    let detail = error.detail();
    let trace = reply.header("traceparent").and_then(|header| header.split('-').nth(1));
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail: &detail,
        code,
        trace_id: trace,
    };
    match serde_json::to_string(&problem) {
        Ok(body) => reply.with_body(body).with_header("content-type", MEDIA_TYPE.to_owned()),
        Err(_) => reply, // texts and a number are always JSON
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_the_form_itself_selects_it() {
        for (accept, is_selected) in [
            ("application/problem+json", true),
            ("application/json, Application/Problem+JSON;q=0.9", true),
            ("application/problem+json;q=0", false),
            ("application/json", false),
            ("*/*", false),
            ("application/*", false),
            ("", false),
        ] {
            assert_eq!(is_accepted(accept), is_selected, "{accept:?}");
        }
    }
}
