//! What holds data: the table, the user pool, the log groups.

use serde_json::json;

use super::{names_of, properties, stack};

#[test]
fn the_table_expires_items_can_be_restored_and_outlives_the_stack() {
    let table = properties("CruddurTable", "AWS::DynamoDB::Table");
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(
        table["KeySchema"],
        json!([
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ])
    );
    assert_eq!(
        table["GlobalSecondaryIndexes"],
        json!([{
            "IndexName": "listing",
            "KeySchema": [
                {"AttributeName": "listing_pk", "KeyType": "HASH"},
                {"AttributeName": "listing_sk", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["ttl"]},
        }])
    );
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "ttl", "Enabled": true}));
    assert_eq!(
        table["PointInTimeRecoverySpecification"],
        json!({"PointInTimeRecoveryEnabled": true})
    );
    assert_eq!(
        table["DeletionProtectionEnabled"],
        json!({"Fn::If": ["ProtectsData", true, false]})
    );
}

#[test]
fn what_people_wrote_stays_when_the_stack_goes_and_logs_do_not() {
    let policies = |name: &str| {
        let resource = &stack()["Resources"][name];
        (resource["DeletionPolicy"].clone(), resource["UpdateReplacePolicy"].clone())
    };
    for name in ["CruddurTable", "UserPool", "AuditBucket"] {
        assert_eq!(policies(name), (json!("RetainExceptOnCreate"), json!("Retain")), "{name}");
    }
    // A group with a fixed name that stayed would be in the way of the next stack.
    for name in names_of("AWS::Logs::LogGroup") {
        assert_eq!(policies(name), (json!("Delete"), json!("Delete")), "{name}");
    }
}

#[test]
fn a_user_pool_of_the_stack_gives_each_handle_to_one_person() {
    let pool = properties("UserPool", "AWS::Cognito::UserPool");
    assert_eq!(pool["UsernameConfiguration"], json!({"CaseSensitive": false}));
    assert_eq!(pool["Schema"], json!([{"Name": "email", "Required": true, "Mutable": true}]));
    assert_eq!(pool["AutoVerifiedAttributes"], json!(["email"]));
    let protection = json!({"Fn::If": ["ProtectsData", "ACTIVE", "INACTIVE"]});
    assert_eq!(pool["DeletionProtection"], protection);
    let client = properties("UserPoolClient", "AWS::Cognito::UserPoolClient");
    assert_eq!(client["UserPoolId"], json!({"Ref": "UserPool"}));
    assert_eq!(client["WriteAttributes"], json!(["email", "name"]));
    assert_eq!(
        client["ExplicitAuthFlows"],
        json!(["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"])
    );
    assert!(client.get("GenerateSecret").is_none(), "a page can keep no secret");
    for name in ["UserPool", "UserPoolClient"] {
        assert_eq!(stack()["Resources"][name]["Condition"], "MakesUserPool");
    }
}

#[test]
fn logs_are_kept_as_long_as_asked_and_lambdas_copy_for_a_day_if_at_all() {
    let days = json!({"Ref": "LogRetentionDays"});
    let group = |name| properties(name, "AWS::Logs::LogGroup");
    assert_eq!(group("LogGroup")["LogGroupName"], "cruddur");
    assert_eq!(group("LogGroup")["RetentionInDays"], days);
    assert_eq!(
        group("LogGroup")["FieldIndexPolicies"],
        json!([{"Fields": ["requestId", "trace_id"]}])
    );
    assert_eq!(group("PlatformLogGroup")["LogGroupName"], "cruddur-platform");
    assert_eq!(group("PlatformLogGroup")["RetentionInDays"], 1);
    assert_eq!(stack()["Resources"]["PlatformLogGroup"]["Condition"], "KeepsPlatformLogs");
    assert_eq!(group("AuditLogGroup")["RetentionInDays"], days);
    assert_eq!(names_of("AWS::Logs::LogGroup").len(), 3);
}
