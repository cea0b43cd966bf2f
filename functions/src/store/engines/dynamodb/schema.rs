//! The table as it is in template.yaml, for endpoints that no template reaches.

use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    operation::create_table::builders::CreateTableFluentBuilder,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType,
    },
};

use super::values::{EXPIRY, LISTING, LISTING_PARTITION, LISTING_SORT, PARTITION, SORT};

/// The request that makes it. Without time to live: what has expired is not found anyway.
pub(super) fn create_table(
    client: &Client,
    name: &str,
) -> Result<CreateTableFluentBuilder, BuildError> {
    let projection = Projection::builder()
        .projection_type(ProjectionType::Include)
        .non_key_attributes(EXPIRY)
        .build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(LISTING)
        .set_key_schema(Some(key_schema(LISTING_PARTITION, LISTING_SORT)?))
        .projection(projection)
        .build()?;
    let keys = [PARTITION, SORT, LISTING_PARTITION, LISTING_SORT];
    let attributes = keys.iter().map(|name| {
        let attribute = AttributeDefinition::builder().attribute_name(*name);
        attribute.attribute_type(ScalarAttributeType::S).build()
    });
    Ok(client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes.collect::<Result<_, _>>()?))
        .set_key_schema(Some(key_schema(PARTITION, SORT)?))
        .global_secondary_indexes(index))
}

fn key_schema(partition: &str, sort: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |name: &str, key_type| {
        KeySchemaElement::builder().attribute_name(name).key_type(key_type).build()
    };
    Ok(vec![element(partition, KeyType::Hash)?, element(sort, KeyType::Range)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_makes_the_table_that_the_adapter_expects() {
        let template = include_str!("../../../../../template.yaml");
        for line in [
            format!("- {{ AttributeName: {PARTITION}, KeyType: HASH }}"),
            format!("- {{ AttributeName: {SORT}, KeyType: RANGE }}"),
            format!("- IndexName: {LISTING}\n"),
            format!("- {{ AttributeName: {LISTING_PARTITION}, KeyType: HASH }}"),
            format!("- {{ AttributeName: {LISTING_SORT}, KeyType: RANGE }}"),
            format!("Projection: {{ ProjectionType: INCLUDE, NonKeyAttributes: [{EXPIRY}] }}"),
            format!("TimeToLiveSpecification: {{ AttributeName: {EXPIRY}, Enabled: true }}"),
        ] {
            assert!(template.contains(&line), "{line}");
        }
    }
}
