//! The files of a crate, and which of them a path leads to.

use std::collections::BTreeMap;
use std::path::Path;

use super::paths::{Found, Written};

/// Longest chain of files that pass a name on.
const MAX_STEPS: usize = 10;

/// A path that leads to another file. Files are named from the folder of `lib.rs`.
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
    /// As it is written.
    pub(super) path: String,
}

struct Source {
    file: String,
    found: Found,
}

/// The files by their modules' paths, that of `lib.rs` being empty; without tests.
pub(super) struct Sources(BTreeMap<Vec<String>, Source>);

impl Sources {
    pub(super) fn read(src: &Path) -> Self {
        let mut sources = Self(BTreeMap::new());
        sources.add(src, Vec::new(), "lib.rs".to_owned());
        sources
    }

    /// Adds a module and all modules below it.
    fn add(&mut self, src: &Path, module: Vec<String>, file: String) {
        let text = std::fs::read_to_string(src.join(&file));
        let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = Found::in_file(&parsed);
        let below: Vec<Vec<String>> =
            found.modules.iter().map(|name| [&module[..], name].concat()).collect();
        self.0.insert(module, Source { file, found });
        for module in below {
            let name = module.join("/");
            let files = [format!("{name}.rs"), format!("{name}/mod.rs")];
            let file = files.into_iter().find(|file| src.join(file).is_file());
            self.add(src, module, file.unwrap_or_else(|| panic!("no file for the module {name}")));
        }
    }

    /// The modules of `lib.rs` in their order.
    pub(super) fn list(&self) -> Vec<String> {
        self.0[&Vec::new()].found.modules.iter().map(|module| module.join("::")).collect()
    }

    /// All types, with their files and lines.
    pub(super) fn types(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.0.values().flat_map(|source| {
            let types = source.found.types.iter();
            types.map(|(name, line)| (name.as_str(), source.file.as_str(), *line))
        })
    }

    /// The imports of all files but `lib.rs`, each line's once.
    pub(super) fn imports(&self) -> Vec<Import> {
        let mut imports: Vec<Import> = Vec::new();
        for (module, source) in self.0.iter().filter(|(module, _)| !module.is_empty()) {
            for written in &source.found.paths {
                let Some(target) = self.target(module, written) else { continue };
                let (from, to) = (source.file.clone(), self.0[&target].file.clone());
                let path = written.segments.join("::");
                let line = written.line;
                let is_known =
                    imports.iter().any(|it| (&it.from, &it.to, it.line) == (&from, &to, line));
                if from != to && !is_known {
                    imports.push(Import { from, to, line, path });
                }
            }
        }
        imports
    }

    /// The module that defines what a path of `module` names; `None` outside of the crate.
    fn target(&self, module: &[String], written: &Written) -> Option<Vec<String>> {
        let absolute = self.absolute(module, &written.inside, &written.segments)?;
        self.defining(&absolute, MAX_STEPS)
    }

    fn absolute(
        &self,
        module: &[String],
        inside: &[String],
        segments: &[String],
    ) -> Option<Vec<String>> {
        let here = [module, inside].concat();
        match segments.first()?.as_str() {
            "crate" => Some(segments[1..].to_vec()),
            "self" | "super" => {
                let supers = segments.iter().take_while(|segment| *segment == "super").count();
                let skipped = supers.max(1);
                let base = &here[..here.len().checked_sub(supers)?];
                Some([base, &segments[skipped..]].concat())
            }
            first => {
                let child = [&here[..], &[first.to_owned()]].concat();
                self.0.contains_key(&child).then(|| [&here[..], segments].concat())
            }
        }
    }

    /// Follows a name to the file that defines it.
    fn defining(&self, absolute: &[String], steps: usize) -> Option<Vec<String>> {
        let depth =
            (0..=absolute.len()).rev().find(|depth| self.0.contains_key(&absolute[..*depth]))?;
        let (module, rest) = absolute.split_at(depth);
        let found = &self.0[module].found;
        let Some(name) = rest.first() else { return Some(module.to_vec()) };
        let is_own = found.items.iter().any(|item| item.first() == Some(name));
        if is_own || steps == 0 {
            return Some(module.to_vec());
        }
        let passed_on = found.paths.iter().filter(|path| path.inside.is_empty());
        let by_name = passed_on.clone().find(|path| path.binds.as_ref() == Some(name));
        if let Some(path) = by_name {
            let absolute = self.absolute(module, &[], &path.segments)?;
            return self.defining(&[&absolute[..], &rest[1..]].concat(), steps - 1);
        }
        let globs = passed_on.filter(|path| path.binds.as_deref() == Some("*"));
        let mut from_glob = globs.filter_map(|path| {
            let behind = self.absolute(module, &[], &path.segments)?;
            let is_there =
                self.0.get(&behind)?.found.items.iter().any(|it| it.last() == Some(name));
            is_there.then_some(behind)
        });
        from_glob.next().or_else(|| Some(module.to_vec()))
    }
}
