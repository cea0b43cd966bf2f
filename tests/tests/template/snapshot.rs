//! The translated template, reviewed: a change of template.yaml shows its effect in translated.txt.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::stack;

/// The longest value of one line; longer ones are a line for each member.
const MAX_VALUE_BYTES: usize = 120;

fn add_lines(path: &str, value: &Value, lines: &mut String) {
    let text = value.to_string();
    match value {
        Value::Object(members) if text.len() > MAX_VALUE_BYTES => {
            for (name, member) in members {
                add_lines(&format!("{path}/{name}"), member, lines);
            }
        }
        Value::Array(items) if text.len() > MAX_VALUE_BYTES => {
            for (index, item) in items.iter().enumerate() {
                add_lines(&format!("{path}/{index}"), item, lines);
            }
        }
        _ => lines.push_str(&format!("{path} {text}\n")),
    }
}

#[test]
fn the_translated_template_is_the_reviewed_one() {
    let mut lines = String::new();
    for section in ["Conditions", "Rules", "Resources", "Outputs"] {
        add_lines(section, &stack()[section], &mut lines);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/template/translated.txt");
    if std::env::var_os("CRUDDUR_WRITE_SNAPSHOT").is_some() {
        fs::write(&file, &lines).expect("the snapshot");
    }

    let reviewed = fs::read_to_string(&file).expect("the snapshot");

    let difference = lines.lines().zip(reviewed.lines()).find(|(now, then)| now != then);
    assert!(
        lines == reviewed,
        "the first of the changed lines: {difference:?}. CRUDDUR_WRITE_SNAPSHOT=1 writes {}; review the change with git diff",
        file.display()
    );
}
