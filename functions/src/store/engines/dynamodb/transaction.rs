//! Writes as DynamoDB's TransactWriteItems request.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::BuildError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{self, Put, ReturnConsumedCapacity, TransactWriteItem},
};
use jiff::Timestamp;

use super::{
    DynamoDbTable, errors,
    usage::Usage,
    values::{
        self, AttributeMap, EXPIRY, LISTING_PARTITION, LISTING_SORT, PARTITION, number, text,
    },
};
use crate::store::{Count, Erase, Key, StoreError, Update, Write};

/// Hold for an item that exists and for one that does not: what has expired may still lie there.
const EXISTS: &str =
    "attribute_exists(#partition) AND (attribute_not_exists(#expiry) OR #expiry > :now)";
const MISSING: &str = "attribute_not_exists(#partition) OR #expiry <= :now";

/// Also holds for an item that moves forward in the index, never for one that moves back.
const MOVES_ON: &str = "(attribute_not_exists(#place) OR #place < :place)";

impl DynamoDbTable {
    /// The writes as DynamoDB wants them. Made once and cloned for each attempt: attributes are
    /// hash maps, of which only a clone is sure to be written in the same order, and a repetition
    /// that looks different may be refused.
    pub(super) fn actions(
        &self,
        writes: &[Write],
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let actions = writes.iter().map(|write| self.action(write, now));
        actions.collect::<Result<_, _>>().map_err(errors::unbuilt("transact_write"))
    }

    /// Tries once. Attempts with the same `token` are done once altogether, for ten minutes.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
    pub(super) async fn write_all(
        &self,
        actions: &[TransactWriteItem],
        token: &str,
        usage: &Usage,
    ) -> Result<(), StoreError> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(actions.to_vec()))
            .client_request_token(token)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match request.send().await {
            Ok(output) => {
                usage.add(output.consumed_capacity.as_deref().unwrap_or_default());
                Ok(())
            }
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let reasons = cancelled.cancellation_reasons();
                    Err(errors::from_cancellation(reasons, cancelled.clone()))
                }
                _ => Err(errors::from_sdk("transact_write")(error)),
            },
        }
    }

    fn action(&self, write: &Write, now: Timestamp) -> Result<TransactWriteItem, BuildError> {
        let action = TransactWriteItem::builder();
        let put =
            |item| Put::builder().table_name(&self.name).set_item(Some(values::from_item(item)));
        let names = Some(condition_names());
        let values = HashMap::from([(":now".to_owned(), number(now.as_second()))]);
        Ok(match write {
            Write::Upsert(item) => action.put(put(item).build()?),
            Write::Insert(item) => action.put(
                put(item)
                    .condition_expression(MISSING)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(Some(values))
                    .build()?,
            ),
            Write::Update(update) => action.update(self.update(update, values)?),
            Write::Erase(erase) => action.update(self.erase(erase, values)?),
            Write::Count(count) => action.update(self.count(count)?),
            Write::DeleteExisting(key) => action.delete(
                self.delete(key)
                    .condition_expression(EXISTS)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(Some(values))
                    .build()?,
            ),
            Write::DeleteIfPresent(key) => action.delete(self.delete(key).build()?),
        }
        .build())
    }

    fn delete(&self, key: &Key) -> types::builders::DeleteBuilder {
        types::Delete::builder().table_name(&self.name).set_key(Some(values::from_key(key)))
    }

    fn update(
        &self,
        update: &Update,
        mut values: AttributeMap,
    ) -> Result<types::Update, BuildError> {
        let mut names = condition_names();
        let mut sets = Vec::new();
        let adds = additions(&update.add, &mut names, &mut values);
        let set = update.set.iter().map(|(name, value)| (name.as_str(), values::from_json(value)));
        let place = update.listing.iter().flat_map(|key| {
            [(LISTING_PARTITION, text(&key.partition)), (LISTING_SORT, text(&key.sort))]
        });
        for (n, (name, value)) in set.chain(place).enumerate() {
            names.insert(format!("#s{n}"), name.to_owned());
            values.insert(format!(":s{n}"), value);
            sets.push(format!("#s{n} = :s{n}"));
        }
        let mut condition = EXISTS.to_owned();
        if let Some(place) = &update.listing {
            names.insert("#place".to_owned(), LISTING_SORT.to_owned());
            values.insert(":place".to_owned(), text(&place.sort));
            condition = format!("{EXISTS} AND {MOVES_ON}");
        }
        types::Update::builder()
            .table_name(&self.name)
            .set_key(Some(values::from_key(&update.key)))
            .update_expression(clause("SET", &sets) + &clause("ADD", &adds))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
    }

    fn count(&self, count: &Count) -> Result<types::Update, BuildError> {
        let (mut names, mut values) = (HashMap::new(), AttributeMap::new());
        let mut expression = clause("ADD", &additions(&count.add, &mut names, &mut values));
        if let Some(second) = count.expires_at_seconds {
            names.insert("#expiry".to_owned(), EXPIRY.to_owned());
            values.insert(":expiry".to_owned(), number(second));
            expression += "SET #expiry = :expiry";
        }
        let below = count.below.map(|(name, bound)| {
            names.insert("#below".to_owned(), name.to_owned());
            values.insert(":below".to_owned(), number(bound));
            "attribute_not_exists(#below) OR #below < :below"
        });
        types::Update::builder()
            .table_name(&self.name)
            .set_key(Some(values::from_key(&count.key)))
            .update_expression(expression)
            .set_condition_expression(below.map(str::to_owned))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
    }

    fn erase(&self, erase: &Erase, mut values: AttributeMap) -> Result<types::Update, BuildError> {
        let mut names = condition_names();
        let (attribute, value) = &erase.only_if;
        names.insert("#only".to_owned(), (*attribute).to_owned());
        values.insert(":only".to_owned(), values::from_json(value));
        let (mut sets, mut removed) = (Vec::new(), Vec::new());
        for (n, (name, value)) in erase.set.iter().enumerate() {
            names.insert(format!("#s{n}"), name.clone());
            values.insert(format!(":s{n}"), values::from_json(value));
            sets.push(format!("#s{n} = :s{n}"));
        }
        let index = [LISTING_PARTITION, LISTING_SORT];
        for (n, name) in erase.remove.iter().copied().chain(index).enumerate() {
            names.insert(format!("#r{n}"), name.to_owned());
            removed.push(format!("#r{n}"));
        }
        types::Update::builder()
            .table_name(&self.name)
            .set_key(Some(values::from_key(&erase.key)))
            .update_expression(clause("SET", &sets) + &clause("REMOVE", &removed))
            .condition_expression(format!("{EXISTS} AND #only = :only"))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
    }
}

/// Names and values of the counters to raise, and the parts of the expression.
fn additions(
    counters: &[(&'static str, i64)],
    names: &mut HashMap<String, String>,
    values: &mut AttributeMap,
) -> Vec<String> {
    let addition = |(n, (name, difference)): (usize, &(&str, i64))| {
        names.insert(format!("#a{n}"), (*name).to_owned());
        values.insert(format!(":a{n}"), number(*difference));
        format!("#a{n} :a{n}")
    };
    counters.iter().enumerate().map(addition).collect()
}

/// A part of an update expression; empty without `parts`.
fn clause(verb: &str, parts: &[String]) -> String {
    match parts.is_empty() {
        true => String::new(),
        false => format!("{verb} {} ", parts.join(", ")),
    }
}

fn condition_names() -> HashMap<String, String> {
    let names = [("#partition", PARTITION), ("#expiry", EXPIRY)];
    HashMap::from(names.map(|(placeholder, name)| (placeholder.to_owned(), name.to_owned())))
}
