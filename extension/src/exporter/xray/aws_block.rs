//! The `aws` and `sql` blocks: calls of AWS services and of databases.

use std::borrow::Cow;

use crate::exporter::xray::{
    attributes::{Attributes, Slot},
    document::{AwsBlock, SqlBlock},
    limits::cut_field,
};

/// Most tables that a call names: DynamoDB's BatchWriteItem has at most 25 items.
const MAX_TABLES: usize = 25;

/// The service that a span calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callee<'a> {
    /// An AWS service's short name, if the span has it.
    Aws(Option<&'a str>),
    /// The `db.system` of the database.
    Database(&'a str),
    Other,
}

impl<'a> Callee<'a> {
    pub(super) fn from_attributes(attributes: &Attributes<'a>) -> Self {
        let system = attributes.peek(Slot::DbSystem);
        if matches!(system, Some("aws.dynamodb" | "dynamodb")) {
            return Self::Aws(Some("DynamoDB"));
        }
        let service = attributes.peek(Slot::AwsService).or_else(|| {
            let is_aws = attributes.peek(Slot::RpcSystem) == Some("aws-api");
            is_aws.then(|| attributes.peek(Slot::RpcService).unwrap_or_default())
        });
        match (service, system) {
            (Some(service), _) => {
                Self::Aws(Some(short_name(service)).filter(|name| !name.is_empty()))
            }
            (None, Some(system)) => Self::Database(system),
            (None, None) => Self::Other,
        }
    }
}

/// `AWS.SDK.DynamoDB`, `AWS::DynamoDB` and `DynamoDB` are one node.
pub(super) fn short_name(service: &str) -> &str {
    let short = service.strip_prefix("AWS.SDK.").or_else(|| service.strip_prefix("AWS::"));
    short.unwrap_or(service)
}

/// The call of an AWS service, in the caller's own region unless the span names another.
pub(super) fn call<'a>(
    attributes: &mut Attributes<'a>,
    own_region: Option<&'a str>,
) -> AwsBlock<'a> {
    let operation = attributes
        .take(Slot::AwsOperation)
        .or_else(|| attributes.take(Slot::RpcMethod))
        .or_else(|| attributes.take(Slot::DbOperation));
    let mut table_names = attributes.take_texts(Slot::TableNames, MAX_TABLES);
    let single = [Slot::TableName, Slot::DbCollection].into_iter().find(|slot| {
        let is_another = |name| table_names.iter().any(|table| table != name);
        attributes.peek(*slot).is_some_and(|name| !is_another(name))
    });
    let table_name = single.and_then(|slot| attributes.take(slot));
    let table_name = match table_names.len() {
        0 | 1 => table_names.pop().or(table_name),
        _ => None,
    };
    AwsBlock {
        operation,
        account_id: attributes.take(Slot::AccountId),
        region: attributes.take(Slot::AwsRegion).or(own_region.map(cut_field)),
        request_id: attributes.take(Slot::AwsRequestId),
        queue_url: attributes.take(Slot::QueueUrl),
        table_name,
        table_names,
        retries: attributes.take_number(Slot::Retries),
        ..AwsBlock::default()
    }
}

/// `None` if no attribute shows a relational database.
pub(super) fn sql<'a>(attributes: &mut Attributes<'a>) -> Option<SqlBlock<'a>> {
    let database_type = attributes.peek(Slot::DbSystem).map(cut_field)?;
    let sql = SqlBlock {
        url: attributes.take(Slot::DbConnection),
        sanitized_query: attributes.take(Slot::DbText),
        user: attributes.take(Slot::DbUser),
        database_type: None,
    };
    let is_relational = sql != SqlBlock::default() || RELATIONAL.contains(&&*database_type);
    if !is_relational {
        return None;
    }
    attributes.take(Slot::DbSystem);
    Some(SqlBlock { database_type: Some(database_type), ..sql })
}

/// Old and current names of relational systems.
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/db/>
const RELATIONAL: [&str; 12] = [
    "db2",
    "ibm.db2",
    "mariadb",
    "microsoft.sql_server",
    "mssql",
    "mysql",
    "oracle",
    "oracle.db",
    "other_sql",
    "postgresql",
    "redshift",
    "sqlite",
];

/// `name@host`, as X-Ray's own SDKs name the node; the system replaces a missing name.
pub(super) fn database_name<'a>(attributes: &Attributes<'a>, system: &'a str) -> Cow<'a, str> {
    let name = attributes.peek(Slot::Database).unwrap_or(system);
    match attributes.peek(Slot::ServerAddress) {
        Some(host) => Cow::Owned(format!("{name}@{host}")),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::exporter::xray::tests::attributes;

    #[track_caller]
    fn assert_call(given: Value, expected: Value, rest: &[&str]) {
        let list = attributes(given);
        let mut attributes = Attributes::new(&list);
        let call = call(&mut attributes, Some("eu-central-1"));
        assert_eq!(serde_json::to_value(call).unwrap(), expected);
        assert_eq!(attributes.untaken().map(|(key, _)| key).collect::<Vec<_>>(), rest);
    }

    #[test]
    fn a_dynamodb_call_of_our_own_functions() {
        assert_call(
            json!({
                "db.system.name": "aws.dynamodb", "db.operation.name": "Query",
                "db.collection.name": "cruddur", "app.store.retries": 2, "aws.request_id": "R",
                "aws.dynamodb.table_names": ["cruddur"],
            }),
            json!({
                "operation": "Query", "table_name": "cruddur", "retries": 2, "request_id": "R",
                "region": "eu-central-1",
            }),
            &["db.system.name"],
        );
    }

    #[test]
    fn a_call_of_another_languages_sdk_with_several_tables() {
        assert_call(
            json!({
                "rpc.system": "aws-api", "rpc.method": "BatchGetItem", "aws.requestId": "R",
                "aws.region": "eu-west-1", "aws.dynamodb.table_names": ["a", "b"],
            }),
            json!({
                "operation": "BatchGetItem", "request_id": "R", "region": "eu-west-1",
                "table_names": ["a", "b"],
            }),
            &["rpc.system"],
        );
    }

    #[test]
    fn a_table_that_is_named_beside_others_stays_for_metadata() {
        assert_call(
            json!({ "aws.dynamodb.table_names": ["a", "b"], "aws.table_name": "c" }),
            json!({ "table_names": ["a", "b"], "region": "eu-central-1" }),
            &["aws.table_name"],
        );
        assert_call(
            json!({ "aws.dynamodb.table_names": ["a"], "db.collection.name": "c" }),
            json!({ "table_name": "a", "region": "eu-central-1" }),
            &["db.collection.name"],
        );
    }

    #[test]
    fn who_is_called() {
        let callee = |given: Value| {
            let list: &'static _ = Box::leak(Box::new(attributes(given)));
            Callee::from_attributes(&Attributes::new(list))
        };

        assert_eq!(callee(json!({ "db.system": "dynamodb" })), Callee::Aws(Some("DynamoDB")));
        assert_eq!(
            callee(json!({ "rpc.system": "aws-api", "rpc.service": "S3" })),
            Callee::Aws(Some("S3"))
        );
        assert_eq!(callee(json!({ "aws.service": "AWS::SQS" })), Callee::Aws(Some("SQS")));
        assert_eq!(callee(json!({ "rpc.system": "aws-api" })), Callee::Aws(None));
        assert_eq!(callee(json!({ "db.system": "redis" })), Callee::Database("redis"));
        assert_eq!(callee(json!({ "rpc.system": "grpc", "rpc.service": "x" })), Callee::Other);
    }

    #[test]
    fn sql_is_for_relational_systems_or_where_there_is_a_query() {
        let block = |given: Value| {
            let list = attributes(given);
            serde_json::to_value(sql(&mut Attributes::new(&list))).unwrap()
        };

        assert_eq!(
            block(json!({ "db.system": "mysql", "db.statement": "SELECT ?", "db.user": "u" })),
            json!({ "database_type": "mysql", "sanitized_query": "SELECT ?", "user": "u" })
        );
        assert_eq!(
            block(json!({ "db.system.name": "sqlite" })),
            json!({ "database_type": "sqlite" })
        );
        assert_eq!(block(json!({ "db.system": "redis" })), json!(null));
    }
}
