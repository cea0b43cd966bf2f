//! The message types of OTLP: the name and kind of each field, at the index of its number.
//! Field numbers: <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>
//!
//! A test compares the table with the descriptors of the Python package.

#[derive(Debug)]
pub struct Schema {
    fields: &'static [NamedKind],
}

/// A field's name in the proto file, in snake_case, and its kind.
type NamedKind = (&'static str, FieldKind);

/// The type of a field, which decides its forms on the wire and in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldKind {
    /// No such field; any value is accepted.
    Unknown,
    Bool,
    Int32,
    Int64,
    Sint32,
    Uint32,
    Enum(&'static EnumNames),
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    Text,
    Texts,
    /// Base64 in JSON.
    Bytes,
    /// Bytes that are hex digits in JSON.
    Id,
    Message(&'static Schema),
    Messages(&'static Schema),
    /// Spans, log records, metrics and data points: a malformed one is left out of a request.
    Items(&'static Schema),
    Uint64s,
    Fixed64s,
    Doubles,
}

/// The names of an enum's values, which are numbered from 0, without their common prefix.
#[derive(Debug)]
pub(super) struct EnumNames {
    prefix: &'static str,
    names: &'static [&'static str],
}

impl EnumNames {
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let name = name.strip_prefix(self.prefix)?;
        self.names.iter().position(|known| *known == name)
    }
}

/// The key's field in `KeyValue`.
pub(super) const KEY: u32 = 1;

impl Schema {
    pub(super) fn kind(&self, number: u32) -> FieldKind {
        self.fields.get(number as usize).map_or(FieldKind::Unknown, |(_, kind)| *kind)
    }

    pub(super) fn is_key_value(&self) -> bool {
        matches!(self.fields, [_, ("key", _), ..])
    }

    /// The known fields in the order of their numbers: number, name and kind.
    pub(super) fn fields(&self) -> impl Iterator<Item = (u32, &'static str, FieldKind)> {
        let known = (0..).zip(self.fields).filter(|(_, (name, _))| !name.is_empty());
        known.map(|(number, (name, kind))| (number, *name, *kind))
    }

    /// The field of this name, in snake_case or lowerCamelCase.
    pub(super) fn named(&self, name: &str) -> Option<(u32, &'static str, FieldKind)> {
        self.fields().find(|(_, known, _)| *known == name || camel_case(known).eq(name.bytes()))
    }
}

/// The name of a field in JSON.
pub(super) fn camel_case(snake_case: &str) -> impl Iterator<Item = u8> {
    let mut is_first = false;
    snake_case.bytes().filter_map(move |byte| {
        let was_first = std::mem::replace(&mut is_first, byte == b'_');
        (byte != b'_').then(|| if was_first { byte.to_ascii_uppercase() } else { byte })
    })
}

const fn of(fields: &'static [NamedKind]) -> Schema {
    Schema { fields }
}

use FieldKind::{
    Bool, Bytes, Double, Doubles, Enum, Fixed32, Fixed64, Fixed64s, Id, Int32, Int64, Items,
    Message, Messages, Sfixed64, Sint32, Text, Texts, Uint32, Uint64s,
};

/// A number that no field has.
const __: NamedKind = ("", FieldKind::Unknown);

pub static TRACES_REQUEST: Schema = of(&[__, ("resource_spans", Messages(&RESOURCE_SPANS))]);
pub static RESOURCE_SPANS: Schema = of(&[
    __,
    ("resource", Message(&RESOURCE)),
    ("scope_spans", Messages(&SCOPE_SPANS)),
    ("schema_url", Text),
]);
pub static SCOPE_SPANS: Schema =
    of(&[__, ("scope", Message(&SCOPE)), ("spans", Items(&SPAN)), ("schema_url", Text)]);
pub static SPAN: Schema = of(&[
    __,
    ("trace_id", Id),
    ("span_id", Id),
    ("trace_state", Text),
    ("parent_span_id", Id),
    ("name", Text),
    ("kind", Enum(&SPAN_KIND)),
    ("start_time_unix_nano", Fixed64),
    ("end_time_unix_nano", Fixed64),
    ("attributes", Messages(&KEY_VALUE)),
    ("dropped_attributes_count", Uint32),
    ("events", Messages(&EVENT)),
    ("dropped_events_count", Uint32),
    ("links", Messages(&LINK)),
    ("dropped_links_count", Uint32),
    ("status", Message(&STATUS)),
    ("flags", Fixed32),
]);
static SPAN_KIND: EnumNames = EnumNames {
    prefix: "SPAN_KIND_",
    names: &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"],
};
static EVENT: Schema = of(&[
    __,
    ("time_unix_nano", Fixed64),
    ("name", Text),
    ("attributes", Messages(&KEY_VALUE)),
    ("dropped_attributes_count", Uint32),
]);
static LINK: Schema = of(&[
    __,
    ("trace_id", Id),
    ("span_id", Id),
    ("trace_state", Text),
    ("attributes", Messages(&KEY_VALUE)),
    ("dropped_attributes_count", Uint32),
    ("flags", Fixed32),
]);
static STATUS: Schema = of(&[__, __, ("message", Text), ("code", Enum(&STATUS_CODE))]);
static STATUS_CODE: EnumNames =
    EnumNames { prefix: "STATUS_CODE_", names: &["UNSET", "OK", "ERROR"] };

pub static LOGS_REQUEST: Schema = of(&[__, ("resource_logs", Messages(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Schema = of(&[
    __,
    ("resource", Message(&RESOURCE)),
    ("scope_logs", Messages(&SCOPE_LOGS)),
    ("schema_url", Text),
]);
static SCOPE_LOGS: Schema = of(&[
    __,
    ("scope", Message(&SCOPE)),
    ("log_records", Items(&LOG_RECORD)),
    ("schema_url", Text),
]);
pub static LOG_RECORD: Schema = of(&[
    __,
    ("time_unix_nano", Fixed64),
    ("severity_number", Enum(&SEVERITY)),
    ("severity_text", Text),
    __,
    ("body", Message(&ANY_VALUE)),
    ("attributes", Messages(&KEY_VALUE)),
    ("dropped_attributes_count", Uint32),
    ("flags", Fixed32),
    ("trace_id", Id),
    ("span_id", Id),
    ("observed_time_unix_nano", Fixed64),
    ("event_name", Text),
]);
#[rustfmt::skip]
static SEVERITY: EnumNames = EnumNames {
    prefix: "SEVERITY_NUMBER_",
    names: &[
        "UNSPECIFIED", "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4",
        "INFO", "INFO2", "INFO3", "INFO4", "WARN", "WARN2", "WARN3", "WARN4",
        "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2", "FATAL3", "FATAL4",
    ],
};

pub static METRICS_REQUEST: Schema = of(&[__, ("resource_metrics", Messages(&RESOURCE_METRICS))]);
static RESOURCE_METRICS: Schema = of(&[
    __,
    ("resource", Message(&RESOURCE)),
    ("scope_metrics", Messages(&SCOPE_METRICS)),
    ("schema_url", Text),
]);
static SCOPE_METRICS: Schema =
    of(&[__, ("scope", Message(&SCOPE)), ("metrics", Items(&METRIC)), ("schema_url", Text)]);
static METRIC: Schema = of(&[
    __,
    ("name", Text),
    ("description", Text),
    ("unit", Text),
    __,
    ("gauge", Message(&GAUGE)),
    __,
    ("sum", Message(&SUM)),
    __,
    ("histogram", Message(&HISTOGRAM)),
    ("exponential_histogram", Message(&EXPONENTIAL_HISTOGRAM)),
    ("summary", Message(&SUMMARY)),
    ("metadata", Messages(&KEY_VALUE)),
]);
static GAUGE: Schema = of(&[__, ("data_points", Items(&NUMBER_POINT))]);
static SUM: Schema = of(&[
    __,
    ("data_points", Items(&NUMBER_POINT)),
    ("aggregation_temporality", Enum(&TEMPORALITY)),
    ("is_monotonic", Bool),
]);
static HISTOGRAM: Schema = of(&[
    __,
    ("data_points", Items(&HISTOGRAM_POINT)),
    ("aggregation_temporality", Enum(&TEMPORALITY)),
]);
static EXPONENTIAL_HISTOGRAM: Schema = of(&[
    __,
    ("data_points", Items(&EXPONENTIAL_POINT)),
    ("aggregation_temporality", Enum(&TEMPORALITY)),
]);
static TEMPORALITY: EnumNames = EnumNames {
    prefix: "AGGREGATION_TEMPORALITY_",
    names: &["UNSPECIFIED", "DELTA", "CUMULATIVE"],
};
static SUMMARY: Schema = of(&[__, ("data_points", Items(&SUMMARY_POINT))]);
static NUMBER_POINT: Schema = of(&[
    __,
    __,
    ("start_time_unix_nano", Fixed64),
    ("time_unix_nano", Fixed64),
    ("as_double", Double),
    ("exemplars", Messages(&EXEMPLAR)),
    ("as_int", Sfixed64),
    ("attributes", Messages(&KEY_VALUE)),
    ("flags", Uint32),
]);
static HISTOGRAM_POINT: Schema = of(&[
    __,
    __,
    ("start_time_unix_nano", Fixed64),
    ("time_unix_nano", Fixed64),
    ("count", Fixed64),
    ("sum", Double),
    ("bucket_counts", Fixed64s),
    ("explicit_bounds", Doubles),
    ("exemplars", Messages(&EXEMPLAR)),
    ("attributes", Messages(&KEY_VALUE)),
    ("flags", Uint32),
    ("min", Double),
    ("max", Double),
]);
static EXPONENTIAL_POINT: Schema = of(&[
    __,
    ("attributes", Messages(&KEY_VALUE)),
    ("start_time_unix_nano", Fixed64),
    ("time_unix_nano", Fixed64),
    ("count", Fixed64),
    ("sum", Double),
    ("scale", Sint32),
    ("zero_count", Fixed64),
    ("positive", Message(&BUCKETS)),
    ("negative", Message(&BUCKETS)),
    ("flags", Uint32),
    ("exemplars", Messages(&EXEMPLAR)),
    ("min", Double),
    ("max", Double),
    ("zero_threshold", Double),
]);
static BUCKETS: Schema = of(&[__, ("offset", Sint32), ("bucket_counts", Uint64s)]);
static SUMMARY_POINT: Schema = of(&[
    __,
    __,
    ("start_time_unix_nano", Fixed64),
    ("time_unix_nano", Fixed64),
    ("count", Fixed64),
    ("sum", Double),
    ("quantile_values", Messages(&QUANTILE)),
    ("attributes", Messages(&KEY_VALUE)),
    ("flags", Uint32),
]);
static QUANTILE: Schema = of(&[__, ("quantile", Double), ("value", Double)]);
static EXEMPLAR: Schema = of(&[
    __,
    __,
    ("time_unix_nano", Fixed64),
    ("as_double", Double),
    ("span_id", Id),
    ("trace_id", Id),
    ("as_int", Sfixed64),
    ("filtered_attributes", Messages(&KEY_VALUE)),
]);

static RESOURCE: Schema = of(&[
    __,
    ("attributes", Messages(&KEY_VALUE)),
    ("dropped_attributes_count", Uint32),
    ("entity_refs", Messages(&ENTITY)),
]);
static ENTITY: Schema = of(&[
    __,
    ("schema_url", Text),
    ("type", Text),
    ("id_keys", Texts),
    ("description_keys", Texts),
]);
static SCOPE: Schema = of(&[
    __,
    ("name", Text),
    ("version", Text),
    ("attributes", Messages(&KEY_VALUE)),
    ("dropped_attributes_count", Uint32),
]);
static KEY_VALUE: Schema =
    of(&[__, ("key", Text), ("value", Message(&ANY_VALUE)), ("key_strindex", Int32)]);
static ANY_VALUE: Schema = of(&[
    __,
    ("string_value", Text),
    ("bool_value", Bool),
    ("int_value", Int64),
    ("double_value", Double),
    ("array_value", Message(&ARRAY)),
    ("kvlist_value", Message(&KEY_VALUES)),
    ("bytes_value", Bytes),
    ("string_value_strindex", Int32),
]);
static ARRAY: Schema = of(&[__, ("values", Messages(&ANY_VALUE))]);
static KEY_VALUES: Schema = of(&[__, ("values", Messages(&KEY_VALUE))]);
