//! The form of a reply by the request's headers: problems, validators, compression, and no body for
//! `HEAD`.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use http::{Method, StatusCode};

use super::{ApiError, Request, Response, Route, problem, weights::weights};
use crate::domain::digest;

/// Shortest body that is compressed, in bytes. A shorter one fits three packets as it is.
const MIN_GZIP_BYTES: usize = 4 * 1024;

/// What a request asks for.
#[derive(Debug, Default)]
pub struct ReplyForm {
    is_head: bool,
    /// Whether caches may keep the reply.
    is_public: bool,
    accepts_gzip: bool,
    accepts_problem: bool,
    /// The value of `If-None-Match`.
    known_tags: Option<String>,
}

impl ReplyForm {
    /// `request` is `None` if the event was none.
    pub fn of(route: &Route, request: Option<&Request>) -> Self {
        let Some(request) = request else { return Self::default() };
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        Self {
            is_head: request.method() == Method::HEAD,
            is_public: route.is_public && is_read,
            accepts_gzip: request.header("accept-encoding").is_some_and(accepts_gzip),
            accepts_problem: request.header("accept").is_some_and(problem::is_accepted),
            known_tags: request.header("if-none-match").map(str::to_owned),
        }
    }

    /// The reply in this form. `error` is the failure that it answers, if it answers one.
    pub fn apply(&self, reply: Response, error: Option<&ApiError>) -> Response {
        let reply = match error.filter(|_| self.accepts_problem) {
            Some(error) => problem::of(error, reply),
            None => reply,
        };
        let reply = self.with_cache_headers(reply);
        let tag = reply.header("etag");
        let known = self.known_tags.as_deref().zip(tag).is_some_and(|(list, tag)| names(list, tag));
        let reply = match known {
            true => reply.not_modified(),
            false => self.compressed(reply),
        };
        if self.is_head { reply.without_body() } else { reply }
    }

    /// Caches ask again each time: a list changes at any moment.
    fn with_cache_headers(&self, reply: Response) -> Response {
        if !self.is_public || reply.status_code() != StatusCode::OK {
            return reply.with_header("cache-control", "no-store".to_owned());
        }
        // Weak, because it is the same for the compressed body.
        let hash = digest::of(&[reply.body().as_bytes()]);
        let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        reply
            .with_header("etag", format!("W/\"{tag}\""))
            .with_header("cache-control", "no-cache".to_owned())
            .with_header("vary", "accept-encoding".to_owned())
    }

    fn compressed(&self, reply: Response) -> Response {
        if !self.accepts_gzip || reply.body().len() < MIN_GZIP_BYTES {
            return reply;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        match encoder.write_all(reply.body().as_bytes()).and_then(|()| encoder.finish()) {
            Ok(bytes) => reply.encoded("gzip", &bytes),
            Err(_) => reply, // a vector takes every write
        }
    }
}

/// Whether a list of entity tags names this one, by the weak comparison.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2>
fn names(list: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|known| opaque(known) == opaque(tag))
}

/// By <https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3>.
fn accepts_gzip(header: &str) -> bool {
    let weight_of = |coding: &str| weights(header).find(|(name, _)| name == coding);
    let found = weight_of("gzip").or_else(|| weight_of("x-gzip")).or_else(|| weight_of("*"));
    found.is_some_and(|(_, is_accepted)| is_accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_where_the_header_says_so() {
        for (header, is_accepted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("br, *;q=0.1", true),
            ("gzip;q=x", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("gzipped", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(header), is_accepted, "{header:?}");
        }
    }

    #[test]
    fn a_list_of_tags_names_a_tag_weak_or_strong() {
        for (list, is_named) in [
            ("W/\"a\"", true),
            ("\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(names(list, "W/\"a\""), is_named, "{list}");
        }
    }

    #[test]
    fn the_size_on_the_wire_is_that_of_the_bytes() {
        for bytes in 0..9 {
            let reply = Response::ok(&()).unwrap().encoded("gzip", &vec![7; bytes]);

            assert_eq!(reply.body_bytes(), bytes);
        }
        assert_eq!(Response::ok(&"==").unwrap().body_bytes(), 4);
    }
}
