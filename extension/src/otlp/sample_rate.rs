//! Leaves out the items of a request that sampling drops, and writes the rate of the others where Honeycomb
//! reads it.
//!
//! Honeycomb weighs each item with the attribute `sampleRate`, else `SampleRate`, of the item, else of its
//! scope, else of its resource, else with the threshold `ot=th` in its tracestate. So one attribute of the
//! resource serves all items. An item that an earlier sampler has kept with a rate gets the product as its own
//! attribute.
//! <https://github.com/honeycombio/husky/blob/main/otlp/traces_direct.go>

use crate::otlp::edit::{ATTRIBUTES, head};
use crate::otlp::edit::{CHILDREN, RESOURCE, RESOURCES, push_key, push_message, push_varint};
use crate::otlp::payload::SignalKind;
use crate::otlp::wire::{Value, fields, nested, raw_fields};

/// The attributes that Honeycomb reads, the stronger one first.
const KEYS: [&[u8]; 2] = [b"sampleRate", b"SampleRate"];

/// The field that holds the scope of a scope's items, and the attributes of that scope.
const SCOPE: u32 = 1;
const SCOPE_ATTRIBUTES: u32 = 3;

const TRACE_STATE: u32 = 3;

/// Honeycomb cuts larger rates.
const MAX_RATE: f64 = i32::MAX as f64;

/// The effect of sampling on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleFate {
    LeftOut,
    /// It stays as it is.
    Unweighted,
    /// It stands for as many items as the rate says.
    Weighted,
}

/// A request without the items that are left out.
#[derive(Debug, Default)]
pub struct SampledRequest {
    /// Empty without an item.
    pub bytes: Vec<u8>,
    pub items: u64,
}

/// Applies the fate of each item, by its place in the request. The bytes of an item change only if it has an
/// own rate and is weighted.
pub fn sample(
    kind: SignalKind,
    request: &[u8],
    rate: u64,
    fate: impl Fn(usize) -> SampleFate,
) -> SampledRequest {
    let mut sampled = SampledRequest::default();
    let mut places = 0..;
    for resource_items in nested(request, RESOURCES) {
        let resource = nested(resource_items, RESOURCE).flat_map(|it| nested(it, ATTRIBUTES));
        let resource_rate = rate_in(resource);
        let (mut unweighted, mut weighted) = (Vec::new(), Vec::new());
        for scope_items in nested(resource_items, CHILDREN) {
            let scope = nested(scope_items, SCOPE).flat_map(|it| nested(it, SCOPE_ATTRIBUTES));
            let earlier = EarlierRates { resource: resource_rate, scope: rate_in(scope) };
            let (mut left, mut edited) = (Vec::new(), Vec::new());
            for (item, place) in nested(scope_items, CHILDREN).zip(places.by_ref()) {
                match fate(place) {
                    SampleFate::LeftOut => continue,
                    SampleFate::Unweighted => push_message(&mut left, CHILDREN, item),
                    SampleFate::Weighted => match earlier.of(kind, item) {
                        Some(own) => {
                            let item = with_rate(item, attributes_of(kind), product(rate, own));
                            push_message(&mut edited, CHILDREN, &item);
                        }
                        None => push_message(&mut edited, CHILDREN, item),
                    },
                }
                sampled.items += 1;
            }
            let own = head(scope_items);
            push_children(&mut unweighted, CHILDREN, &own, &left);
            push_children(&mut weighted, CHILDREN, &own, &edited);
        }
        let own = head(resource_items);
        push_children(&mut sampled.bytes, RESOURCES, &own, &unweighted);
        if !weighted.is_empty() {
            let rate = product(rate, resource_rate.unwrap_or(1.0));
            let head = weighted_head(resource_items, rate);
            push_children(&mut sampled.bytes, RESOURCES, &head, &weighted);
        }
    }
    sampled
}

fn push_children(target: &mut Vec<u8>, number: u32, head: &[u8], children: &[u8]) {
    if !children.is_empty() {
        push_message(target, number, &[head, children].concat());
    }
}

/// The rates that the scope and the resource of an item have.
#[derive(Clone, Copy)]
struct EarlierRates {
    resource: Option<f64>,
    scope: Option<f64>,
}

impl EarlierRates {
    /// The own rate of an item. `None` if its resource has the rate, or without a rate.
    fn of(self, kind: SignalKind, item: &[u8]) -> Option<f64> {
        let own = rate_in(nested(item, attributes_of(kind))).or(self.scope);
        let has_state = own.is_none() && self.resource.is_none() && kind == SignalKind::Traces;
        own.or_else(|| threshold_rate(nested(item, TRACE_STATE).last().filter(|_| has_state)?))
    }
}

/// The field of an item that holds its attributes.
fn attributes_of(kind: SignalKind) -> u32 {
    if kind == SignalKind::Traces { 9 } else { 6 }
}

/// The rate in a list of encoded `KeyValue`s.
fn rate_in<'a>(attributes: impl Iterator<Item = &'a [u8]>) -> Option<f64> {
    let mut rates = [None; KEYS.len()];
    for pair in attributes {
        let key = nested(pair, 1).last().unwrap_or_default();
        if let Some(place) = KEYS.iter().position(|known| *known == key) {
            rates[place] = nested(pair, 2).last().and_then(rate_of).or(rates[place]);
        }
    }
    rates.into_iter().flatten().next()
}

/// The rate in an encoded `AnyValue`, rounded; at least 1.
fn rate_of(value: &[u8]) -> Option<f64> {
    let rate = match fields(value).flatten().last()? {
        (1, Value::Bytes(text)) => str::from_utf8(text).ok()?.parse().ok()?,
        (3, Value::Varint(number)) => number as i64 as f64,
        (4, Value::Fixed64(bits)) => f64::from_bits(bits),
        _ => return None,
    };
    Some(rate.round().max(1.0)) // NaN becomes 1
}

/// The inverse of the probability in a tracestate: the threshold is the rejected share of 2⁵⁶.
/// <https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/#sampling-threshold-value-th>
fn threshold_rate(state: &[u8]) -> Option<f64> {
    let mut members = str::from_utf8(state).ok()?.split(',');
    let ours = members.find_map(|member| member.trim().strip_prefix("ot="))?;
    let digits = ours.split(';').find_map(|field| field.strip_prefix("th:"))?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(1..=14).contains(&digits.len()) || !digits.bytes().all(is_hex) {
        return None;
    }
    let rejected = u64::from_str_radix(digits, 16).ok()? << (4 * (14 - digits.len()));
    let all = (1_u64 << 56) as f64;
    Some(all / (all - rejected as f64))
}

fn product(rate: u64, earlier: f64) -> u64 {
    (rate as f64 * earlier).round().min(MAX_RATE) as u64
}

/// A message with this rate instead of earlier ones.
fn with_rate(message: &[u8], attributes: u32, rate: u64) -> Vec<u8> {
    let mut edited = without_rates(message, attributes);
    let (mut value, mut pair) = (Vec::new(), Vec::new());
    push_key(&mut value, 3, 0);
    push_varint(&mut value, rate);
    push_message(&mut pair, 1, KEYS[0]);
    push_message(&mut pair, 2, &value);
    push_message(&mut edited, attributes, &pair);
    edited
}

fn without_rates(message: &[u8], attributes: u32) -> Vec<u8> {
    let is_rate = |(number, raw): &(u32, &[u8])| {
        let mut key = fields(raw).flatten().filter_map(|field| match field {
            (_, Value::Bytes(pair)) => nested(pair, 1).last(),
            _ => None,
        });
        *number == attributes && key.next().is_some_and(|key| KEYS.contains(&key))
    };
    let kept = raw_fields(message).filter(|field| !is_rate(field));
    kept.flat_map(|(_, raw)| raw).copied().collect()
}

/// The own fields of a resource's items, with the rate in the resource.
fn weighted_head(resource_items: &[u8], rate: u64) -> Vec<u8> {
    let resource: Vec<u8> = nested(resource_items, RESOURCE).flatten().copied().collect();
    let mut head = Vec::new();
    push_message(&mut head, RESOURCE, &with_rate(&resource, ATTRIBUTES, rate));
    let is_other = |number: u32| number != RESOURCE && number != CHILDREN;
    let others = raw_fields(resource_items).filter(|(number, _)| is_other(*number));
    others.for_each(|(_, raw)| head.extend_from_slice(raw));
    head
}

#[cfg(test)]
mod tests;
