"""Starts moto's server, with transactions of DynamoDB that are isolated and cost what they touch.

moto answers requests on many threads without a lock, so that parallel counts may get lost. And to
be able to take a transaction back, it copies the whole table once for each of its actions: seconds,
where a few thousand items are stored. Here one operation runs at a time, and what is copied are the
items that the actions name.
"""

import copy
import functools
import sys
import threading

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.server import main

transact_write_items = DynamoDBBackend.transact_write_items


def transact(self, transact_items):
    before = [
        (bucket, sort, copy.deepcopy(bucket.get(sort)))
        for bucket, sort in places(self.tables, transact_items)
    ]
    try:
        return transact_write_items(self, transact_items)
    except Exception:
        for bucket, sort, item in before:
            if item is None:
                bucket.pop(sort, None)
            else:
                bucket[sort] = item
        raise


def places(tables, transact_items):
    """Where the items of a transaction are: their partition, and the sort key there."""
    for action in transact_items:
        [operation] = action.values()
        table = tables.get(operation.get("TableName"))
        attributes = operation.get("Item", operation.get("Key", {}))
        names = table and (table.hash_key_attr, table.range_key_attr)
        if names and all(name in attributes for name in names):
            partition, sort = (DynamoType(attributes[name]) for name in names)
            yield table.items[partition], sort


def one_at_a_time(method):
    @functools.wraps(method)
    def locked(*args, **kwargs):
        with lock:
            return method(*args, **kwargs)

    return locked


lock = threading.RLock()
DynamoDBBackend.transact_write_items = transact
for name in "transact_write_items put_item update_item delete_item get_item query scan".split():
    setattr(DynamoDBBackend, name, one_at_a_time(getattr(DynamoDBBackend, name)))
Table.__deepcopy__ = lambda self, _: self

if __name__ == "__main__":
    main(sys.argv[1:])
