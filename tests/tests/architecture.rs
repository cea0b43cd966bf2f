//! The sources of a crate keep the order of its `lib.rs`.

use std::path::Path;

use cruddur_tests::architecture::breaches;

fn source(of: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("src")
}

#[test]
fn the_functions_import_only_from_above_without_circles_and_name_each_type_once() {
    let found = breaches(&source("functions"));

    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_extension_imports_only_from_above_without_circles_and_names_each_type_once() {
    let found = breaches(&source("extension"));

    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

/// The breaches of a crate of these files.
fn breaches_of(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = folder.path().join(name);
        let parent = file.parent().expect("a file in the folder");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(file, text).expect("a file");
    }
    breaches(folder.path())
}

const LIST: (&str, &str) = ("lib.rs", "mod low;\nmod high;\n");

#[test]
fn an_import_from_a_module_further_down_is_found_in_a_use_in_code_and_in_a_macro() {
    for import in [
        "use crate::high::Thing;",
        "use super::high::{Thing, other};",
        "use crate::{high as h};",
        "fn f() { crate::high::call(); }",
        "fn f() -> super::high::Thing { todo!() }",
        "fn f() { println!(\"{}\", crate::high::call()); }",
        "mod inline { use crate::high::Thing; }",
        "#[cfg(not(test))] use crate::high::Thing;",
    ] {
        let low = format!("//! Low.\n{import}\n");
        let found = breaches_of(&[LIST, ("low.rs", &low), ("high.rs", "pub struct Thing;")]);

        assert_eq!(found.len(), 1, "{import}: {found:?}");
        assert!(found[0].starts_with("low.rs:2: `"), "{import}: {found:?}");
        assert!(found[0].ends_with("`high` is not above `low` in lib.rs"), "{import}: {found:?}");
    }
}

#[test]
fn imports_from_above_and_of_tests_and_links_in_comments_are_allowed() {
    let low = "//! See [`crate::high::Thing`].\npub struct Low;\n#[cfg(test)]\nuse crate::high::Thing;\n\
               #[cfg(test)]\nmod tests { use crate::high::Thing; struct Low; }\n";
    let high = "use crate::low::Low;\npub struct Thing(Low, std::low::Other);\n";

    let found = breaches_of(&[LIST, ("low.rs", low), ("high.rs", high)]);

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_circle_between_files_of_a_folder_is_found_where_a_file_passes_the_name_on() {
    let files = [
        ("lib.rs", "mod low;"),
        ("low/mod.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"),
        ("low/a.rs", "use super::B;\npub struct A(B);\n"),
        ("low/b.rs", "pub struct B;\n"),
    ];
    assert_eq!(breaches_of(&files), Vec::<String>::new());

    let mut files = files;
    files[3].1 = "pub struct B(Option<Box<crate::low::A>>);\n";
    assert_eq!(
        breaches_of(&files),
        [
            "low/a.rs:1: `super::B` closes a circle: low/a.rs → low/b.rs → low/a.rs",
            "low/b.rs:1: `crate::low::A` closes a circle: low/b.rs → low/a.rs → low/b.rs",
        ]
    );
}

#[test]
fn a_file_must_not_import_from_the_file_that_calls_it() {
    let found = breaches_of(&[
        ("lib.rs", "mod low;"),
        ("low.rs", "mod a;\npub struct Low;\nfn f() { a::call(); }\n"),
        ("low/a.rs", "pub fn call(_: super::Low) {}\n"),
    ]);

    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1], "low/a.rs:1: `super::Low` closes a circle: low/a.rs → low.rs → low/a.rs");
}

#[test]
fn a_second_type_of_the_same_name_is_found_in_another_file_and_a_function_is_not_a_type() {
    let low = "pub struct Call;\npub fn thing() {}\n";
    let high = "pub fn thing() {}\n\nenum Call {}\n";

    let found = breaches_of(&[LIST, ("low.rs", low), ("high.rs", high)]);

    assert_eq!(found, ["low.rs:1: the type `Call` is also defined at high.rs:3"]);
}
