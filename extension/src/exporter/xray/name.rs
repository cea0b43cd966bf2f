//! Names and namespaces of segments, from which X-Ray draws the service map.
//!
//! | document | name | namespace |
//! |---|---|---|
//! | root segment | the service that answers | – |
//! | subsegment of a call | the called service, database or host | `aws` or `remote` |
//! | any other subsegment | the span's name | – |
//!
//! Each name of the first two rows becomes a node, so it must not vary by request.

use std::borrow::Cow;

use ::http::Uri;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::exporter::xray::{
    attributes::{Attributes, Slot},
    aws_block::{Callee, database_name, short_name},
    limits::MAX_NAME_CHARS,
};

/// Replaces a name without a legal character, as in the collector's exporter.
const NAMELESS: &str = "span";

pub(super) fn namespace(kind: SpanKind, callee: Callee<'_>) -> Option<&'static str> {
    match (callee, kind) {
        (Callee::Aws(_), _) => Some("aws"),
        (_, SpanKind::Client | SpanKind::Producer) => Some("remote"),
        _ => None,
    }
}

pub(super) fn segment_name(
    attributes: &mut Attributes<'_>,
    service: Option<&str>,
    span: &str,
) -> String {
    let local = attributes.take(Slot::LocalService);
    to_legal(local.as_deref().or(service).unwrap_or(span))
}

pub(super) fn subsegment_name(
    attributes: &mut Attributes<'_>,
    namespace: Option<&str>,
    callee: Callee<'_>,
    span: &str,
) -> String {
    if namespace.is_none() {
        return to_legal(span);
    }
    let service = attributes.take(Slot::RemoteService);
    let service = service.or_else(|| attributes.take(Slot::PeerService));
    let service = service.as_deref().map(|service| Cow::Borrowed(short_name(service)));
    let called = match callee {
        Callee::Aws(service) => service.map(Cow::Borrowed),
        Callee::Database(system) => Some(database_name(attributes, system)),
        Callee::Other => [Slot::RpcService, Slot::HttpHost, Slot::ServerAddress]
            .into_iter()
            .find_map(|slot| attributes.peek(slot))
            .map(Cow::Borrowed)
            .or_else(|| host(attributes.peek(Slot::HttpUrl)?)),
    };
    to_legal(&service.or(called).unwrap_or(Cow::Borrowed(span)))
}

fn host(url: &str) -> Option<Cow<'static, str>> {
    Some(Cow::Owned(url.parse::<Uri>().ok()?.host()?.to_owned()))
}

/// Drops characters that X-Ray forbids, replaces white space by blanks, and cuts to [`MAX_NAME_CHARS`].
fn to_legal(name: &str) -> String {
    let blank = |char: char| if char.is_whitespace() { ' ' } else { char };
    let name = name.trim().chars().map(blank).filter(|char| is_legal(*char));
    let name: String = name.take(MAX_NAME_CHARS).collect();
    match name.trim() {
        "" => NAMELESS.to_owned(),
        _ => name,
    }
}

/// A letter or decimal digit of any script, without combining marks: the narrowest reading of "Unicode
/// letters, numbers". Both Unicode tables must contain the character.
fn is_legal(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric() || " _.:/%&#=+\\-@".contains(char);
    }
    char.is_alphanumeric()
        && (char.general_category_group() == GeneralCategoryGroup::Letter
            || char.general_category() == GeneralCategory::DecimalNumber)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::exporter::xray::tests::attributes;

    fn named(kind: SpanKind, given: Value) -> (Option<&'static str>, String) {
        let list = attributes(given);
        let mut attributes = Attributes::new(&list);
        let callee = Callee::from_attributes(&attributes);
        let namespace = namespace(kind, callee);
        (namespace, subsegment_name(&mut attributes, namespace, callee, "the span"))
    }

    #[test]
    fn who_is_called_is_a_node_and_what_is_done_here_keeps_its_name() {
        let client = SpanKind::Client;
        for (kind, given, namespace, name) in [
            (client, json!({ "db.system.name": "aws.dynamodb" }), Some("aws"), "DynamoDB"),
            (client, json!({ "rpc.system": "aws-api", "rpc.service": "S3" }), Some("aws"), "S3"),
            (
                client,
                json!({ "aws.remote.service": "AWS::SQS", "aws.service": "x" }),
                Some("aws"),
                "SQS",
            ),
            (
                client,
                json!({ "db.system": "mysql", "db.name": "d", "server.address": "h" }),
                Some("remote"),
                "d@h",
            ),
            (client, json!({ "db.system": "redis" }), Some("remote"), "redis"),
            (
                client,
                json!({ "peer.service": "pay", "server.address": "h" }),
                Some("remote"),
                "pay",
            ),
            (client, json!({ "server.address": "h.example" }), Some("remote"), "h.example"),
            (client, json!({ "net.peer.name": "h.example" }), Some("remote"), "h.example"),
            (
                client,
                json!({ "http.method": "GET", "http.url": "https://u:p@h.example:8443/a?b" }),
                Some("remote"),
                "h.example",
            ),
            (
                client,
                json!({ "http.host": "virtual", "net.peer.name": "h.example" }),
                Some("remote"),
                "virtual",
            ),
            (client, json!({ "url.full": "no url" }), Some("remote"), "the span"),
            (client, json!({}), Some("remote"), "the span"),
            (SpanKind::Internal, json!({ "server.address": "h" }), None, "the span"),
            (SpanKind::Server, json!({ "server.address": "h" }), None, "the span"),
        ] {
            assert_eq!(named(kind, given.clone()), (namespace, name.to_owned()), "{given}");
        }
    }

    #[test]
    fn a_segment_is_named_after_its_service() {
        let list = attributes(json!({ "aws.local.service": "local" }));
        assert_eq!(segment_name(&mut Attributes::new(&list), Some("service"), "GET /"), "local");
        assert_eq!(segment_name(&mut Attributes::new(&[]), Some("service"), "GET /"), "service");
        assert_eq!(segment_name(&mut Attributes::new(&[]), None, "GET /"), "GET /");
    }

    #[test]
    fn a_name_has_legal_characters_only_and_at_least_one() {
        assert_eq!(to_legal("GET /api/activities/{key}"), "GET /api/activities/key");
        assert_eq!(to_legal("grüße 日本"), "grüße 日本");
        assert_eq!(to_legal("{}<>\u{0}"), "span");
        assert_eq!(to_legal("a\u{a0}b\u{2028}c\td\ne"), "a b c d e");
        assert_eq!(to_legal("e\u{301}Ⅷ②\u{200d}\u{7f}हि٣"), "eह٣");
        assert_eq!(to_legal(&"é".repeat(300)).chars().count(), 200);
    }
}
