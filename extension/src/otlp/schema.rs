//! The message types of OTLP, as far as a decoder checks them.
//! Field numbers: <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>

#[derive(Debug)]
pub struct Schema {
    fields: &'static [FieldKind],
}

/// The wire form that a field must have.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldKind {
    /// No such field; any value is accepted.
    Unknown,
    Varint,
    Fixed32,
    Fixed64,
    Text,
    Bytes,
    Message(&'static Schema),
    Varints,
    Fixed64s,
}

use FieldKind::{Bytes, Fixed32, Fixed64, Fixed64s, Message, Text, Unknown as __, Varint, Varints};

impl Schema {
    pub(super) fn kind(&self, number: u32) -> FieldKind {
        self.fields.get(number as usize).copied().unwrap_or(FieldKind::Unknown)
    }
}

const fn of(fields: &'static [FieldKind]) -> Schema {
    Schema { fields }
}

pub static TRACES_REQUEST: Schema = of(&[__, Message(&RESOURCE_SPANS)]);
static RESOURCE_SPANS: Schema = of(&[__, Message(&RESOURCE), Message(&SCOPE_SPANS), Text]);
static SCOPE_SPANS: Schema = of(&[__, Message(&SCOPE), Message(&SPAN), Text]);
#[rustfmt::skip]
static SPAN: Schema = of(&[
    __, Bytes, Bytes, Text, Bytes, Text, Varint, Fixed64, Fixed64, Message(&KEY_VALUE), Varint,
    Message(&EVENT), Varint, Message(&LINK), Varint, Message(&STATUS), Fixed32,
]);
static EVENT: Schema = of(&[__, Fixed64, Text, Message(&KEY_VALUE), Varint]);
static LINK: Schema = of(&[__, Bytes, Bytes, Text, Message(&KEY_VALUE), Varint, Fixed32]);
static STATUS: Schema = of(&[__, __, Text, Varint]);

pub static LOGS_REQUEST: Schema = of(&[__, Message(&RESOURCE_LOGS)]);
static RESOURCE_LOGS: Schema = of(&[__, Message(&RESOURCE), Message(&SCOPE_LOGS), Text]);
static SCOPE_LOGS: Schema = of(&[__, Message(&SCOPE), Message(&LOG_RECORD), Text]);
#[rustfmt::skip]
static LOG_RECORD: Schema = of(&[
    __, Fixed64, Varint, Text, __, Message(&ANY_VALUE), Message(&KEY_VALUE), Varint, Fixed32,
    Bytes, Bytes, Fixed64, Text,
]);

pub static METRICS_REQUEST: Schema = of(&[__, Message(&RESOURCE_METRICS)]);
static RESOURCE_METRICS: Schema = of(&[__, Message(&RESOURCE), Message(&SCOPE_METRICS), Text]);
static SCOPE_METRICS: Schema = of(&[__, Message(&SCOPE), Message(&METRIC), Text]);
#[rustfmt::skip]
static METRIC: Schema = of(&[
    __, Text, Text, Text, __, Message(&GAUGE), __, Message(&SUM), __, Message(&HISTOGRAM),
    Message(&EXPONENTIAL_HISTOGRAM), Message(&SUMMARY), Message(&KEY_VALUE),
]);
static GAUGE: Schema = of(&[__, Message(&NUMBER_POINT)]);
static SUM: Schema = of(&[__, Message(&NUMBER_POINT), Varint, Varint]);
static HISTOGRAM: Schema = of(&[__, Message(&HISTOGRAM_POINT), Varint]);
static EXPONENTIAL_HISTOGRAM: Schema = of(&[__, Message(&EXPONENTIAL_POINT), Varint]);
static SUMMARY: Schema = of(&[__, Message(&SUMMARY_POINT)]);
#[rustfmt::skip]
static NUMBER_POINT: Schema = of(&[
    __, __, Fixed64, Fixed64, Fixed64, Message(&EXEMPLAR), Fixed64, Message(&KEY_VALUE), Varint,
]);
#[rustfmt::skip]
static HISTOGRAM_POINT: Schema = of(&[
    __, __, Fixed64, Fixed64, Fixed64, Fixed64, Fixed64s, Fixed64s, Message(&EXEMPLAR),
    Message(&KEY_VALUE), Varint, Fixed64, Fixed64,
]);
#[rustfmt::skip]
static EXPONENTIAL_POINT: Schema = of(&[
    __, Message(&KEY_VALUE), Fixed64, Fixed64, Fixed64, Fixed64, Varint, Fixed64,
    Message(&BUCKETS), Message(&BUCKETS), Varint, Message(&EXEMPLAR), Fixed64, Fixed64, Fixed64,
]);
static BUCKETS: Schema = of(&[__, Varint, Varints]);
#[rustfmt::skip]
static SUMMARY_POINT: Schema = of(&[
    __, __, Fixed64, Fixed64, Fixed64, Fixed64, Message(&QUANTILE), Message(&KEY_VALUE), Varint,
]);
static QUANTILE: Schema = of(&[__, Fixed64, Fixed64]);
static EXEMPLAR: Schema =
    of(&[__, __, Fixed64, Fixed64, Bytes, Bytes, Fixed64, Message(&KEY_VALUE)]);

static RESOURCE: Schema = of(&[__, Message(&KEY_VALUE), Varint, Message(&ENTITY)]);
static ENTITY: Schema = of(&[__, Text, Text, Text, Text]);
static SCOPE: Schema = of(&[__, Text, Text, Message(&KEY_VALUE), Varint]);
static KEY_VALUE: Schema = of(&[__, Text, Message(&ANY_VALUE), Varint]);
#[rustfmt::skip]
static ANY_VALUE: Schema = of(&[
    __, Text, Varint, Varint, Fixed64, Message(&ARRAY), Message(&KEY_VALUES), Bytes, Varint,
]);
static ARRAY: Schema = of(&[__, Message(&ANY_VALUE)]);
static KEY_VALUES: Schema = of(&[__, Message(&KEY_VALUE)]);
