//! What README.md and CHANGELOG.md say is so: links lead somewhere, names are those of the code.

use std::collections::BTreeSet;
use std::path::Path;

use crate::template::stack;

const README: &str = include_str!("../../README.md");
const CHANGELOG: &str = include_str!("../../CHANGELOG.md");

/// As GitHub names a heading: <https://docs.github.com/en/get-started/writing-on-github>.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// README.md without what stands in fences.
fn prose() -> String {
    README.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The first cells of the table under these columns, without code marks.
fn first_cells(columns: &str) -> Vec<String> {
    let (_, table) = README.split_once(columns).unwrap_or_else(|| panic!("no table {columns}"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).expect("a cell").trim().to_owned()).collect()
}

/// What is between code marks.
fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

#[test]
fn every_link_to_a_file_or_heading_leads_there() {
    let prose = prose();
    let anchors: BTreeSet<String> =
        prose.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let mut own = 0;
    for (link, _) in links.filter(|(link, _)| !link.starts_with("http")) {
        own += 1;
        let is_there = match link.strip_prefix('#') {
            Some(heading) => anchors.contains(heading),
            None => root.join(link).exists(),
        };
        assert!(is_there, "README.md: nothing at {link}");
    }
    assert!(own > 30, "{own} links were found");
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = include_str!("../../Makefile");
    let named = README.split("make ").skip(1).filter(|rest| rest.starts_with(char::is_lowercase));
    let words = named.map(|rest| rest.split(|c: char| !(c.is_lowercase() || c == '-')).next());
    let words: BTreeSet<&str> = words.flatten().collect();
    // Beside "to make": where a command or code mark begins with it.
    let commands = |word: &&&str| {
        README.contains(&format!("`make {word}")) || README.contains(&format!("\nmake {word}"))
    };
    let targets: Vec<&&str> = words.iter().filter(commands).collect();
    assert!(targets.len() > 8, "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}: ")), "there is no target {target}");
    }
}

#[test]
fn the_stacks_parameters_are_all_explained() {
    let cells = first_cells("| parameter | what | default |");

    let explained: BTreeSet<String> = cells.iter().flat_map(|cell| names(cell)).collect();

    let parameters = stack()["Parameters"].as_object().expect("parameters").keys();
    assert_eq!(explained, parameters.cloned().collect());
}

/// The routes in README's table.
pub(crate) fn routes_of_readme() -> BTreeSet<String> {
    first_cells("| route | function |")
        .iter()
        .flat_map(|cell| {
            let names: Vec<String> = names(cell).collect();
            let (_, path) = names.last().and_then(|it| it.split_once(' ')).expect("a path");
            let path = path.split('?').next().expect("a path").to_owned();
            let methods = names.into_iter();
            let method = |name: String| name.split(' ').next().expect("a method").to_owned();
            methods.map(move |name| format!("{} {path}", method(name))).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_variables_are_those_of_the_code() {
    let code = concat!(
        include_str!("../../extension/README.md"), // compared with the code by a test of its own
        include_str!("../../functions/src/config/mod.rs"),
    );
    let cells = first_cells("| variable | meaning | default |");
    assert!(cells.len() > 15, "{cells:?}");
    for name in cells.iter().flat_map(|cell| names(cell)) {
        assert!(code.contains(&name), "nobody reads {name}");
    }
}

#[test]
fn the_changelog_begins_with_this_version_or_what_comes_after_it() {
    let version = env!("CARGO_PKG_VERSION");
    let mut headings = CHANGELOG.lines().filter_map(|line| line.strip_prefix("## "));
    let first = headings.find(|heading| *heading != "Unreleased").expect("a version");
    assert!(first.starts_with(version), "CHANGELOG.md has {first}, Cargo.toml {version}");
    let manifests = [
        include_str!("../../functions/Cargo.toml"),
        include_str!("../../extension/Cargo.toml"),
        include_str!("../../extension/forward-proxy/Cargo.toml"),
        include_str!("../../extension/trace-context/Cargo.toml"),
        include_str!("../Cargo.toml"),
    ];
    for manifest in manifests {
        assert!(manifest.contains("version.workspace = true"), "a version of its own: {manifest}");
    }
}
