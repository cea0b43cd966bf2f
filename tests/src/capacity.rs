//! What DynamoDB would charge for a request, by its published rules.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
//!
//! Emulators return constants. Updated items count as one block, because their size is not on the
//! wire; whether a write changes the index follows from the keys that it names. Items that a filter
//! drops are not on the wire either, and not counted.

use std::iter::Sum;
use std::ops::Add;

use serde_json::Value;

/// Capacity units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Reads of the table and its index.
    pub read: f64,
    /// Writes to the table.
    pub write: f64,
    /// Writes to the index.
    pub index_write: f64,
}

impl Units {
    /// All of them.
    pub fn total(self) -> f64 {
        self.read + self.write + self.index_write
    }
}

impl Add for Units {
    type Output = Units;

    fn add(self, other: Units) -> Units {
        Units {
            read: self.read + other.read,
            write: self.write + other.write,
            index_write: self.index_write + other.index_write,
        }
    }
}

impl Sum for Units {
    fn sum<I: Iterator<Item = Units>>(units: I) -> Units {
        units.fold(Units::default(), Add::add)
    }
}

/// Capacity units of one request, from its body and the answer's.
pub(crate) fn units(operation: &str, request: &Value, answer: &Value) -> Units {
    match operation {
        "Query" => {
            let read = per_block(request) * blocks(items_size(&answer["Items"]), 4096);
            Units { read, ..Units::default() }
        }
        "BatchGetItem" => {
            let asked = request["RequestItems"].as_object().into_iter().flatten();
            asked.map(|(table, asked)| got(asked, &answer["Responses"][table])).sum()
        }
        "BatchWriteItem" => {
            let tables = request["RequestItems"].as_object().into_iter().flatten();
            let puts = tables.flat_map(|(_, puts)| puts.as_array().into_iter().flatten());
            puts.map(|put| put_units(&put["PutRequest"]["Item"], 1.0)).sum()
        }
        "TransactWriteItems" => {
            let actions = request["TransactItems"].as_array().into_iter().flatten();
            actions.map(action_units).sum()
        }
        _ => Units::default(),
    }
}

fn per_block(request: &Value) -> f64 {
    if request["ConsistentRead"] == true { 1.0 } else { 0.5 }
}

/// A key without an item costs as much as a small item.
fn got(asked: &Value, found: &Value) -> Units {
    let keys = asked["Keys"].as_array().map_or(0, Vec::len);
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let of_found: f64 = found.iter().map(|item| blocks(size(item), 4096)).sum();
    let missing = keys.saturating_sub(found.len()) as f64;
    Units { read: per_block(asked) * (of_found + missing), ..Units::default() }
}

fn put_units(item: &Value, factor: f64) -> Units {
    let blocks = blocks(size(item), 1024);
    // The keys and the expiry fit one block.
    let index_write = if item["listing_pk"].is_null() { 0.0 } else { 1.0 };
    Units { write: factor * blocks, index_write, ..Units::default() }
}

/// A transaction writes twice to the table, once to the index. An item that moves there is deleted
/// and made again.
fn action_units(action: &Value) -> Units {
    let operations = action.as_object().into_iter().flatten();
    let each = operations.map(|(kind, operation)| match kind.as_str() {
        "Put" => put_units(&operation["Item"], 2.0),
        _ => {
            let names = operation["ExpressionAttributeNames"].as_object().into_iter().flatten();
            let moves = names.into_iter().any(|(_, name)| *name == "listing_pk");
            let index_write = if moves { 2.0 } else { 0.0 };
            Units { write: 2.0, index_write, ..Units::default() }
        }
    });
    each.sum()
}

/// Begun blocks; nothing at all counts as one.
fn blocks(bytes: usize, block: usize) -> f64 {
    bytes.div_ceil(block).max(1) as f64
}

fn items_size(items: &Value) -> usize {
    items.as_array().into_iter().flatten().map(size).sum()
}

/// Bytes of an item: of its names and its values.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn size(item: &Value) -> usize {
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|typed| typed.iter().next()) else {
        return 0;
    };
    match kind.as_str() {
        "S" => value.as_str().map_or(0, str::len),
        "N" => value.as_str().map_or(0, |digits| digits.len().div_ceil(2) + 1),
        "L" => {
            let values = value.as_array().into_iter().flatten();
            3 + values.map(|value| 1 + value_size(value)).sum::<usize>()
        }
        "M" => {
            let entries = value.as_object().into_iter().flatten();
            3 + entries.map(|(name, value)| 1 + name.len() + value_size(value)).sum::<usize>()
        }
        _ => 1,
    }
}
