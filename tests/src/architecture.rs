//! Reads the sources of a crate and reports what breaks its order.
//!
//! The modules of `lib.rs` are a list: a module imports only from modules above it, and no file
//! imports, directly or by way of others, from a file that imports it. No two types of a crate share
//! a name. Code under `#[cfg(test)]` is exempt, and so are links in comments.
//!
//! An import is any path that leads to another file of the crate, in a `use`, in code or in the
//! arguments of a macro. A name that a file only passes on (`pub use`) counts for the file that
//! defines it.

mod paths;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sources::{Import, Sources};

/// Reports every breach, as `file:line: what is wrong`, in the order of the sources.
///
/// `src` is the folder that holds `lib.rs`; paths in the report begin there. Panics if a source
/// cannot be read.
pub fn breaches(src: &Path) -> Vec<String> {
    let sources = Sources::read(src);
    let imports = sources.imports();
    let mut found = against_the_list(&sources, &imports);
    found.extend(circles(&imports));
    found.extend(shared_names(&sources));
    found
}

fn against_the_list(sources: &Sources, imports: &[Import]) -> Vec<String> {
    let list = sources.list();
    let place = |file: &str| {
        let top = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        list.iter().position(|module| module == top)
    };
    let breach = |import: &Import| {
        let (from, to) = (place(&import.from)?, place(&import.to)?);
        let Import { from: file, line, path, .. } = import;
        let message = format!(
            "{file}:{line}: `{path}`: `{}` is not above `{}` in lib.rs",
            list[to], list[from]
        );
        (to > from).then_some(message)
    };
    imports.iter().filter_map(breach).collect()
}

/// One report for each import that leads back to its own file.
fn circles(imports: &[Import]) -> Vec<String> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        next.entry(from).or_default().insert(to);
    }
    let breach = |import: &Import| {
        let way = way(&next, &import.to, &import.from)?;
        let Import { from, line, path, .. } = import;
        Some(format!("{from}:{line}: `{path}` closes a circle: {from} → {}", way.join(" → ")))
    };
    imports.iter().filter_map(breach).collect()
}

/// The shortest way from one file to another.
fn way<'a>(
    next: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    from: &'a str,
    to: &str,
) -> Option<Vec<&'a str>> {
    let mut ways = std::collections::VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let end = way[way.len() - 1];
        if end == to {
            return Some(way);
        }
        for file in next.get(end).into_iter().flatten() {
            if seen.insert(file) {
                ways.push_back(way.iter().copied().chain([*file]).collect());
            }
        }
    }
    None
}

fn shared_names(sources: &Sources) -> Vec<String> {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, file, line) in sources.types() {
        match first.get(name) {
            Some(other) => {
                found.push(format!("{file}:{line}: the type `{name}` is also defined at {other}"));
            }
            None => drop(first.insert(name, format!("{file}:{line}"))),
        }
    }
    found
}
