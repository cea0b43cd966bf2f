//! Reads and writes of many items by their keys: BatchGetItem and BatchWriteItem.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest},
};
use futures_util::{
    future::try_join_all,
    stream::{self, StreamExt, TryStreamExt},
};
use jiff::Timestamp;

use super::{
    DynamoDbTable, MAX_AT_ONCE, errors, retry,
    usage::Usage,
    values::{self, AttributeMap},
};
use crate::store::{Consistency, Item, Key, StoreError};

/// Most keys of one BatchGetItem.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_GETS: usize = 100;

/// Most items of one BatchWriteItem.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const MAX_PUTS: usize = 25;

/// The keys of one request.
struct Gets {
    /// Those that have not been looked up yet.
    left: Vec<AttributeMap>,
    found: Vec<AttributeMap>,
}

impl DynamoDbTable {
    pub(super) async fn read_items(
        &self,
        keys: &[Key],
        consistency: Consistency,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<Vec<Option<Item>>, StoreError> {
        let distinct: Vec<&Key> = BTreeSet::from_iter(keys).into_iter().collect();
        let batches =
            distinct.chunks(MAX_GETS).map(|keys| self.read_batch(keys, consistency, usage));
        let found = try_join_all(batches).await?.into_iter().flatten();
        let alive = found
            .filter(|item| item.expires_at_seconds.is_none_or(|seconds| seconds > now.as_second()));
        let by_key: HashMap<Key, Item> = alive.map(|item| (item.key.clone(), item)).collect();
        Ok(keys.iter().map(|key| by_key.get(key).cloned()).collect())
    }

    /// Reads until no key is left over; items that have been read are kept.
    async fn read_batch(
        &self,
        keys: &[&Key],
        consistency: Consistency,
        usage: &Usage,
    ) -> Result<Vec<Item>, StoreError> {
        let left = keys.iter().map(|key| values::from_key(key)).collect();
        let batch = Mutex::new(Gets { left, found: Vec::new() });
        retry::while_busy(&usage.retries, || self.read_on(&batch, consistency, usage)).await?;
        let batch = batch.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(batch.found.into_iter().map(values::to_item).collect())
    }

    async fn read_on(
        &self,
        batch: &Mutex<Gets>,
        consistency: Consistency,
        usage: &Usage,
    ) -> Result<(), StoreError> {
        let lock = || batch.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = lock().left.clone();
        let asked = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(consistency == Consistency::Strong)
            .build();
        let output = self
            .client
            .batch_get_item()
            .request_items(&self.name, asked.map_err(errors::unbuilt("get"))?)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(errors::from_sdk("get"))?;
        usage.add(output.consumed_capacity.as_deref().unwrap_or_default());
        let mut batch = lock();
        batch.found.extend(output.responses.into_iter().flatten().flat_map(|(_, found)| found));
        let left = output.unprocessed_keys.into_iter().flatten();
        batch.left = left.flat_map(|(_, left)| left.keys).collect();
        all_done("get", batch.left.is_empty())
    }

    pub(super) async fn put_items(&self, items: &[Item], usage: &Usage) -> Result<(), StoreError> {
        let batches: Vec<_> =
            items.chunks(MAX_PUTS).map(|items| self.put_batch(items, usage)).collect();
        stream::iter(batches).buffer_unordered(MAX_AT_ONCE).try_collect().await
    }

    /// Writes until no item is left over.
    async fn put_batch(&self, items: &[Item], usage: &Usage) -> Result<(), StoreError> {
        let put = |item| {
            let put = PutRequest::builder().set_item(Some(values::from_item(item))).build()?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        let left: Result<Vec<_>, BuildError> = items.iter().map(put).collect();
        let left = left.map_err(errors::unbuilt("put_each"))?;
        let left = Mutex::new(left);
        retry::while_busy(&usage.retries, || self.put_on(&left, usage)).await
    }

    async fn put_on(
        &self,
        left: &Mutex<Vec<WriteRequest>>,
        usage: &Usage,
    ) -> Result<(), StoreError> {
        let lock = || left.lock().unwrap_or_else(PoisonError::into_inner);
        let puts = lock().clone();
        let output = self
            .client
            .batch_write_item()
            .request_items(&self.name, puts)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(errors::from_sdk("put_each"))?;
        usage.add(output.consumed_capacity.as_deref().unwrap_or_default());
        let left_over = output.unprocessed_items.into_iter().flatten();
        let mut left = lock();
        *left = left_over.flat_map(|(_, puts)| puts).collect();
        all_done("put_each", left.is_empty())
    }
}

/// DynamoDB leaves items over that would exceed its limits; a later request takes them.
fn all_done(operation: &'static str, is_done: bool) -> Result<(), StoreError> {
    match is_done {
        true => Ok(()),
        false => {
            let source = "items were left over".into();
            Err(StoreError::Busy { operation, code: None, source })
        }
    }
}
