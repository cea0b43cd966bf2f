//! What DynamoDB would charge for a request, by its published rules.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
//!
//! Emulators say constants. The size of an item is taken from its JSON, which is a little longer
//! than what DynamoDB counts; whether a write changes an index, from the keys that it names.

use serde_json::Value;

/// Capacity units of one request, from its body and the answer's.
pub(crate) fn units(operation: &str, request: &Value, answer: &Value) -> f64 {
    match operation {
        "Query" => {
            let per_unit = if request["ConsistentRead"] == true { 1.0 } else { 0.5 };
            per_unit * blocks(size(&answer["Items"]), 4096)
        }
        "BatchGetItem" => {
            let tables = answer["Responses"].as_object().into_iter().flatten();
            let items = tables.flat_map(|(_, items)| items.as_array().into_iter().flatten());
            items.map(|item| blocks(size(item), 4096)).sum()
        }
        "TransactWriteItems" => {
            let actions = request["TransactItems"].as_array().into_iter().flatten();
            actions.map(action_units).sum()
        }
        _ => 0.0,
    }
}

/// A transaction writes twice; an index is written along once.
fn action_units(action: &Value) -> f64 {
    let operations = action.as_object().into_iter().flatten();
    let each = operations.map(|(_, operation)| {
        let item = blocks(size(&operation["Item"]), 1024);
        let index = if operation["Item"]["listing_pk"].is_null() { 0.0 } else { item };
        2.0 * item + index
    });
    each.sum()
}

/// Begun blocks; nothing at all counts as one.
fn blocks(bytes: usize, block: usize) -> f64 {
    bytes.div_ceil(block).max(1) as f64
}

fn size(value: &Value) -> usize {
    if value.is_null() { 0 } else { value.to_string().len() }
}
