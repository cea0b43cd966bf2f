//! A schema of segment documents, written from X-Ray's guide alone.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>

use jsonschema::Validator;
use serde_json::{Value, json};

pub(super) struct Schema(Validator);

impl Schema {
    pub(super) fn new() -> Self {
        Self(jsonschema::draft202012::new(&schema()).unwrap())
    }

    /// All violations of a document, its size included.
    pub(super) fn complaints(&self, json: &str) -> Vec<String> {
        let document: Value = serde_json::from_str(json).unwrap();
        let errors = self.0.iter_errors(&document);
        let mut complaints: Vec<String> =
            errors.map(|error| format!("{}: {error}", error.instance_path())).collect();
        if document["end_time"].as_f64() < document["start_time"].as_f64() {
            complaints.push("it ends before it starts".to_owned());
        }
        // Not a pattern: the crate's regular expressions know another version of Unicode.
        let is_legal = |char: char| char.is_alphanumeric() || r" _.:/%&#=+\-@".contains(char);
        if !document["name"].as_str().is_some_and(|name| name.chars().all(is_legal)) {
            complaints.push(format!("the name {}", document["name"]));
        }
        if json.len() > 64_000 {
            complaints.push(format!("{} bytes", json.len()));
        }
        complaints
    }
}

fn text(max: u32) -> Value {
    json!({ "type": "string", "maxLength": max })
}

fn hex(digits: u32) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$"), "not": { "pattern": "^0+$" } })
}

/// An object with these members and no others.
fn object(members: Value) -> Value {
    json!({ "type": "object", "properties": members, "additionalProperties": false })
}

fn schema() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let frame = object(json!({ "path": text(250), "line": count, "label": text(250) }));
    let mut exception = object(json!({
        "id": hex(16), "message": text(250), "type": text(250), "remote": { "type": "boolean" },
        "truncated": count, "skipped": count, "cause": hex(16),
        "stack": { "type": "array", "items": frame },
    }));
    exception["required"] = json!(["id"]);
    let http = object(json!({
        "request": object(json!({
            "method": text(250), "url": text(250), "user_agent": text(250), "client_ip": text(250),
            "x_forwarded_for": { "const": true }, "traced": { "type": "boolean" },
        })),
        "response": object(json!({
            "status": { "type": "integer", "minimum": 0, "maximum": 65535 }, "content_length": count,
        })),
    }));
    let names = json!({ "type": "array", "items": text(250) });
    let aws = object(json!({
        "account_id": text(250), "operation": text(250), "region": text(250), "request_id": text(250),
        "queue_url": text(250), "table_name": text(250), "table_names": names, "retries": count,
        "cloudwatch_logs": { "type": "array", "items": object(json!({ "log_group": text(250), "arn": text(250) })) },
        "xray": object(json!({ "sdk": text(250), "sdk_version": text(250) })),
    }));
    let sql = object(json!({
        "connection_string": text(250), "url": text(250), "sanitized_query": text(250),
        "database_type": text(250), "database_version": text(250), "driver_version": text(250),
        "user": text(250), "preparation": { "enum": ["call", "statement"] },
    }));
    let annotation = json!({ "type": ["string", "number", "boolean"], "maxLength": 250 });
    let mut document = object(json!({
        "name": { "type": "string", "maxLength": 200, "minLength": 1 },
        "id": hex(16),
        "trace_id": { "type": "string", "pattern": "^1-[0-9a-f]{8}-[0-9a-f]{24}$", "not": { "pattern": "^1-0+-0+$" } },
        "parent_id": hex(16), "type": { "const": "subsegment" },
        "start_time": { "type": "number", "minimum": 0 }, "end_time": { "type": "number", "minimum": 0 },
        "namespace": { "enum": ["aws", "remote"] },
        "error": { "const": true }, "throttle": { "const": true }, "fault": { "const": true },
        "http": http, "aws": aws, "sql": sql,
        "cause": {
            "type": "object", "additionalProperties": false,
            "required": ["working_directory", "exceptions"],
            "properties": {
                "working_directory": text(250), "paths": names,
                "exceptions": { "type": "array", "items": exception },
            },
        },
        "user": text(250), "service": object(json!({ "version": text(250) })),
        "annotations": {
            "type": "object", "maxProperties": 50, "additionalProperties": false,
            "patternProperties": { "^[A-Za-z0-9_]{1,250}$": annotation },
        },
        "metadata": {
            "type": "object",
            "propertyNames": { "not": { "pattern": r"^AWS\." } },
            "additionalProperties": { "type": "object" },
        },
    }));
    document["required"] = json!(["name", "id", "trace_id", "start_time", "end_time"]);
    // Only a subsegment has a parent, and only a segment has a user and a service.
    document["oneOf"] = json!([
        {
            "required": ["type", "parent_id"],
            "properties": {
                "user": false, "service": false,
                "http": { "properties": { "request": { "properties": { "x_forwarded_for": false } } } },
                "aws": { "properties": { "cloudwatch_logs": false, "xray": false } },
            },
        },
        {
            "properties": {
                "type": false, "parent_id": false, "namespace": false, "sql": false,
                "aws": { "properties": { "operation": false, "table_name": false } },
            },
        },
    ]);
    document
}

#[test]
fn the_schema_refuses_what_the_guide_refuses() {
    let schema = Schema::new();
    let good = json!({
        "name": "a", "id": "00000000000000ab", "trace_id": "1-00000001-000000000000000000000002",
        "start_time": 1.5, "end_time": 2,
    });
    let with = |key: &str, value: Value| {
        let mut document = good.clone();
        document[key] = value;
        schema.complaints(&document.to_string()).len()
    };
    assert_eq!(schema.complaints(&good.to_string()), Vec::<String>::new());
    for (key, value) in [
        ("name", json!("{")),
        ("name", json!("x".repeat(201))),
        ("id", json!("0000000000000000")),
        ("trace_id", json!("00000001000000000000000000000002")),
        ("end_time", json!(1)),
        ("type", json!("subsegment")),
        ("namespace", json!("aws")),
        ("annotations", json!({ "a.b": 1 })),
        ("annotations", json!({ "a": [1] })),
        ("metadata", json!({ "AWS.x": {} })),
        ("metadata", json!({ "default": "x".repeat(65_000) })),
        ("unknown", json!(1)),
    ] {
        assert_ne!(with(key, value.clone()), 0, "{key} {value}");
    }
}
