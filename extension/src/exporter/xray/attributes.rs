//! A span's attributes, sorted by their meaning to X-Ray.
//!
//! One pass sorts them into [`Slot`]s; old and new names of one attribute share a slot. A block takes
//! the attributes that it uses; the remaining ones become metadata.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

use crate::exporter::xray::limits::{MAX_TEXT_CHARS, cut};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "NAMES says which attributes they are")]
pub(super) enum Slot {
    AccountId,
    AnnotationKeys,
    AwsOperation,
    AwsRegion,
    AwsRequestId,
    AwsService,
    ClientAddress,
    Database,
    DbCollection,
    DbConnection,
    DbOperation,
    DbStatus,
    DbSystem,
    DbText,
    DbUser,
    ErrorType,
    HostName,
    HostPort,
    HttpHost,
    HttpMethod,
    HttpQuery,
    HttpScheme,
    HttpStatus,
    HttpTarget,
    HttpUrl,
    LocalService,
    PeerService,
    QueueUrl,
    RemoteService,
    ResponseBytes,
    Retries,
    RpcMethod,
    RpcService,
    RpcSystem,
    ServerAddress,
    ServerPort,
    TableName,
    TableNames,
    User,
    UserAgent,
}

const SLOTS: usize = Slot::UserAgent as usize + 1;

/// Attribute names in byte order, each with its slot and rank; the lowest rank of a slot wins.
///
/// Current names rank before deprecated ones, which several SDKs still send. The collector's exporter
/// defined `aws.local.service` and similar names.
pub(super) const NAMES: [(&str, Slot, u8); 67] = [
    ("app.store.retries", Slot::Retries, 2),
    ("app.user_id", Slot::User, 0),
    ("aws.account_id", Slot::AccountId, 0),
    ("aws.dynamodb.table_names", Slot::TableNames, 0),
    ("aws.local.service", Slot::LocalService, 0),
    ("aws.operation", Slot::AwsOperation, 0),
    ("aws.queue.url", Slot::QueueUrl, 1),
    ("aws.queue_url", Slot::QueueUrl, 2),
    ("aws.region", Slot::AwsRegion, 0),
    ("aws.remote.service", Slot::RemoteService, 0),
    ("aws.requestId", Slot::AwsRequestId, 2),
    ("aws.request_id", Slot::AwsRequestId, 0),
    ("aws.retries", Slot::Retries, 0),
    ("aws.service", Slot::AwsService, 0),
    ("aws.sqs.queue.url", Slot::QueueUrl, 0),
    ("aws.table.name", Slot::TableName, 1),
    ("aws.table_name", Slot::TableName, 0),
    ("aws.xray.annotations", Slot::AnnotationKeys, 0),
    ("client.address", Slot::ClientAddress, 0),
    ("cloud.account.id", Slot::AccountId, 1),
    ("cloud.region", Slot::AwsRegion, 1),
    ("db.collection.name", Slot::DbCollection, 0),
    ("db.connection_string", Slot::DbConnection, 0),
    ("db.name", Slot::Database, 1),
    ("db.namespace", Slot::Database, 0),
    ("db.operation", Slot::DbOperation, 1),
    ("db.operation.name", Slot::DbOperation, 0),
    ("db.query.text", Slot::DbText, 0),
    ("db.response.status_code", Slot::DbStatus, 0),
    ("db.statement", Slot::DbText, 1),
    ("db.system", Slot::DbSystem, 1),
    ("db.system.name", Slot::DbSystem, 0),
    ("db.user", Slot::DbUser, 0),
    ("enduser.id", Slot::User, 2),
    ("error.type", Slot::ErrorType, 0),
    ("http.client_ip", Slot::ClientAddress, 1),
    ("http.host", Slot::HttpHost, 0),
    ("http.method", Slot::HttpMethod, 1),
    ("http.request.method", Slot::HttpMethod, 0),
    ("http.request.resend_count", Slot::Retries, 1),
    ("http.response.body.size", Slot::ResponseBytes, 0),
    ("http.response.status_code", Slot::HttpStatus, 0),
    ("http.response_content_length", Slot::ResponseBytes, 1),
    ("http.scheme", Slot::HttpScheme, 1),
    ("http.status_code", Slot::HttpStatus, 1),
    ("http.target", Slot::HttpTarget, 1),
    ("http.url", Slot::HttpUrl, 1),
    ("http.user_agent", Slot::UserAgent, 1),
    ("messaging.url", Slot::QueueUrl, 3),
    ("net.host.name", Slot::HostName, 0),
    ("net.host.port", Slot::HostPort, 0),
    ("net.peer.name", Slot::ServerAddress, 1),
    ("net.peer.port", Slot::ServerPort, 1),
    ("peer.service", Slot::PeerService, 0),
    ("rpc.method", Slot::RpcMethod, 0),
    ("rpc.service", Slot::RpcService, 0),
    ("rpc.system", Slot::RpcSystem, 1),
    ("rpc.system.name", Slot::RpcSystem, 0),
    ("server.address", Slot::ServerAddress, 0),
    ("server.port", Slot::ServerPort, 0),
    ("service.peer.name", Slot::PeerService, 1),
    ("url.full", Slot::HttpUrl, 0),
    ("url.path", Slot::HttpTarget, 0),
    ("url.query", Slot::HttpQuery, 0),
    ("url.scheme", Slot::HttpScheme, 0),
    ("user.id", Slot::User, 1),
    ("user_agent.original", Slot::UserAgent, 0),
];

#[derive(Debug)]
pub(super) struct Attributes<'a> {
    list: &'a [KeyValue],
    /// Index into `list`, and rank of the name.
    slots: [Option<(usize, u8)>; SLOTS],
    taken: Vec<bool>,
}

impl<'a> Attributes<'a> {
    /// If a name occurs twice, the first attribute counts.
    pub(super) fn new(list: &'a [KeyValue]) -> Self {
        let mut slots = [None; SLOTS];
        for (index, attribute) in list.iter().enumerate() {
            let known = NAMES.binary_search_by_key(&attribute.key.as_str(), |(name, ..)| name);
            if let Ok(known) = known {
                let (_, slot, rank) = NAMES[known];
                let found: &mut Option<(usize, u8)> = &mut slots[slot as usize];
                if found.is_none_or(|(_, other)| rank < other) {
                    *found = Some((index, rank));
                }
            }
        }
        Self { list, slots, taken: vec![false; list.len()] }
    }

    /// A non-empty text, which stays in the metadata.
    pub(super) fn peek(&self, slot: Slot) -> Option<&'a str> {
        text(self.value(slot)?).filter(|text| !text.is_empty())
    }

    /// A non-empty text, cut to [`MAX_TEXT_CHARS`]. A text that was cut stays in the metadata, too.
    pub(super) fn take(&mut self, slot: Slot) -> Option<Cow<'a, str>> {
        let text = cut(self.peek(slot)?, MAX_TEXT_CHARS);
        if matches!(text, Cow::Borrowed(_)) {
            self.mark_taken(slot);
        }
        Some(text)
    }

    /// A number that fits `N`, which stays in the metadata. Older SDKs write numbers as text.
    pub(super) fn peek_number<N: TryFrom<i64>>(&self, slot: Slot) -> Option<N> {
        let number = match self.value(slot)?.value.as_ref()? {
            Value::IntValue(number) => *number,
            Value::StringValue(text) => text.parse().ok()?,
            _ => return None,
        };
        N::try_from(number).ok()
    }

    pub(super) fn take_number<N: TryFrom<i64>>(&mut self, slot: Slot) -> Option<N> {
        let number = self.peek_number(slot)?;
        self.mark_taken(slot);
        Some(number)
    }

    /// A text, or at most `most` texts of an array, each cut to [`MAX_TEXT_CHARS`].
    /// The attribute stays in the metadata unless all of it is returned.
    pub(super) fn take_texts(&mut self, slot: Slot, most: usize) -> Vec<Cow<'a, str>> {
        let Some(value) = self.value(slot) else { return Vec::new() };
        let values = match &value.value {
            Some(Value::ArrayValue(array)) => &array.values[..],
            _ => std::slice::from_ref(value),
        };
        let texts = values.iter().filter_map(text).take(most);
        let texts: Vec<_> = texts.map(|text| cut(text, MAX_TEXT_CHARS)).collect();
        let is_whole = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        if texts.len() == values.len() && texts.iter().all(is_whole) {
            self.mark_taken(slot);
        }
        texts
    }

    pub(super) fn take_at(&mut self, index: usize) {
        self.taken[index] = true;
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &'a str, &'a AnyValue)> + use<'a> {
        self.list.iter().enumerate().filter_map(|(index, attribute)| {
            Some((index, attribute.key.as_str(), attribute.value.as_ref()?))
        })
    }

    pub(super) fn untaken(&self) -> impl Iterator<Item = (&'a str, &'a AnyValue)> {
        self.all().filter(|(index, ..)| !self.taken[*index]).map(|(_, key, value)| (key, value))
    }

    fn value(&self, slot: Slot) -> Option<&'a AnyValue> {
        let (index, _) = self.slots[slot as usize]?;
        self.list[index].value.as_ref()
    }

    /// Removes the slot's attribute from the metadata.
    pub(super) fn mark_taken(&mut self, slot: Slot) {
        if let Some((index, _)) = self.slots[slot as usize] {
            self.taken[index] = true;
        }
    }
}

pub(super) fn text(value: &AnyValue) -> Option<&str> {
    match &value.value {
        Some(Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value;
    use serde_json::{Value, json};

    use super::*;
    use crate::exporter::xray::tests::attributes;

    #[test]
    fn the_names_are_in_the_order_that_the_search_needs() {
        assert!(NAMES.is_sorted_by(|(a, ..), (b, ..)| a < b));
    }

    #[test]
    fn a_present_name_wins_over_an_old_one_wherever_it_stands() {
        let attribute = |key: &str, text: &str| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }),
            ..KeyValue::default()
        };
        let list = [
            attribute("http.method", "old"),
            attribute("http.request.method", "new"),
            attribute("http.request.method", "second"),
        ];

        let mut attributes = Attributes::new(&list);

        assert_eq!(attributes.take(Slot::HttpMethod).unwrap(), "new");
        let rest: Vec<_> =
            attributes.untaken().map(|(key, value)| (key, text(value).unwrap())).collect();
        assert_eq!(rest, [("http.method", "old"), ("http.request.method", "second")]);
    }

    #[test]
    fn what_cannot_be_used_as_a_whole_stays_for_metadata() {
        let stays = |given: Value, taken: &dyn Fn(&mut Attributes<'_>) -> Value| {
            let list = attributes(given);
            let mut attributes = Attributes::new(&list);
            (taken(&mut attributes), attributes.untaken().count() == 1)
        };
        let status = |attributes: &mut Attributes<'_>| {
            json!(attributes.take_number::<u16>(Slot::HttpStatus))
        };
        for (status_code, expected) in [
            (json!(404), (json!(404), false)),
            (json!("404"), (json!(404), false)),
            (json!(70_000), (json!(null), true)),
            (json!("many"), (json!(null), true)),
        ] {
            assert_eq!(stays(json!({ "http.status_code": status_code }), &status), expected);
        }
        let tables =
            |attributes: &mut Attributes<'_>| json!(attributes.take_texts(Slot::TableNames, 2));
        let long = "é".repeat(255);
        for (names, expected) in [
            (json!("a"), (json!(["a"]), false)),
            (json!(["a", "b"]), (json!(["a", "b"]), false)),
            (json!(["a", "b", "c"]), (json!(["a", "b"]), true)),
            (json!(["a", 1]), (json!(["a"]), true)),
            (json!([long]), (json!(["é".repeat(250)]), true)),
            (json!(7), (json!([]), true)),
        ] {
            let given = json!({ "aws.dynamodb.table_names": names });
            assert_eq!(stays(given, &tables), expected);
        }
    }
}
