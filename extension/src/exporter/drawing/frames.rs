//! The cause of a failure: the exception's text, and one short row per frame of the program's own code.

use opentelemetry_proto::tonic::{common::v1::KeyValue, trace::v1::Span};

use crate::backtrace::{StackFrame, frames};
use crate::exporter::drawing::text::clean;
use crate::exporter::drawing::trace::attribute;
use crate::otlp::any_value::text;

/// Most frames shown; the innermost come first.
const MAX_FRAMES: usize = 6;

/// An exception as people read it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShownException {
    /// Its type and message.
    pub(super) cause: String,
    /// `functions/src/store/mod.rs:12  store::read`
    pub(super) frames: Vec<String>,
}

/// The exceptions of a span.
pub(super) fn exceptions(span: &Span) -> impl Iterator<Item = ShownException> {
    let exceptions = span.events.iter().filter(|event| event.name == "exception");
    exceptions.map(|event| exception(&event.attributes))
}

pub(super) fn exception(attributes: &[KeyValue]) -> ShownException {
    let parts = ["exception.type", "exception.message"].map(|key| attribute(attributes, key));
    let cause = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let stack = attributes.iter().find(|attribute| attribute.key == "exception.stacktrace");
    let stack = stack.map(|stack| text(stack.value.as_ref())).unwrap_or_default();
    let mut rows: Vec<String> = Vec::new();
    for frame in frames(&stack).iter().filter(|frame| frame.is_ours()) {
        let row = row(frame);
        // An async call has a frame for each of its layers, at one place.
        if !rows.iter().any(|seen| place(seen) == place(&row)) {
            rows.push(row);
        }
    }
    rows.truncate(MAX_FRAMES);
    ShownException { cause, frames: rows }
}

fn place(row: &str) -> &str {
    row.split("  ").next().unwrap_or_default()
}

fn row(frame: &StackFrame<'_>) -> String {
    let file = frame.file.map_or("?", in_its_package);
    let line = frame.line.map(|line| format!(":{line}")).unwrap_or_default();
    let function = frame.function.map(short_function).unwrap_or_default();
    clean(format!("{file}{line}  {function}").trim_end())
}

/// The path from the package's folder, the parent of `src`: a whole path fills a row.
fn in_its_package(file: &str) -> &str {
    let package = file.rfind("/src/").and_then(|src| file[..src].rfind('/'));
    package.map_or(file, |slash| &file[slash + 1..])
}

/// The last two names of a path, without generics: `home_activities::handle`.
fn short_function(function: &str) -> String {
    let path = without_generics(function);
    let names: Vec<&str> = path.split("::").filter(|name| !name.is_empty()).collect();
    let is_named = |name: &&&str| !name.starts_with('{');
    let named: Vec<&str> = names.iter().filter(is_named).copied().collect();
    match named[..] {
        [] => awaited_function(function).map(short_function).unwrap_or_default(),
        _ => named[named.len().saturating_sub(2)..].join("::"),
    }
}

/// The async function that an unnamed future is generic over.
fn awaited_function(function: &str) -> Option<&str> {
    let path = &function[..function.rfind("::{async_fn_env#")?];
    let start = path.rfind(|char: char| !char.is_alphanumeric() && !matches!(char, '_' | ':'));
    Some(&path[start.map_or(0, |index| index + 1)..])
}

/// `<a::B as c::D>::e::<F>` becomes `a::B::e`.
fn without_generics(function: &str) -> String {
    let (own_type, rest) = match function.strip_prefix('<').and_then(|rest| {
        let end = closing(rest)?;
        Some((rest[..end].split(" as ").next().unwrap_or_default(), &rest[end + 1..]))
    }) {
        Some((own_type, rest)) => (own_type, rest),
        None => ("", function),
    };
    let mut depth = 0_usize;
    let mut before = ' ';
    let mut kept = String::new();
    for char in own_type.trim_start_matches(['<', '&']).chars().chain(rest.chars()) {
        match char {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(char),
            _ => {}
        }
        before = char;
    }
    kept
}

/// Where the bracket ends that was opened before the text. An arrow, `->`, closes none.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut before = ' ';
    for (index, char) in text.char_indices() {
        match char {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
        before = char;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_from_its_package() {
        for (file, short) in [
            ("./functions/src/store/mod.rs", "functions/src/store/mod.rs"),
            ("/home/src/cruddur/functions/src/lib.rs", "functions/src/lib.rs"),
            ("src/lib.rs", "src/lib.rs"),
            ("/var/task/index.js", "/var/task/index.js"),
        ] {
            assert_eq!(in_its_package(file), short);
        }
    }

    #[test]
    fn a_function_is_its_last_two_names() {
        for (function, short) in [
            ("cruddur::endpoints::home_activities::handle::{{closure}}", "home_activities::handle"),
            ("{async_fn#0}<fn(&cruddur::App) -> cruddur::Reply>", ""),
            ("{async_block#0}<fn(&A) -> cruddur::home::handle::{async_fn_env#0}>", "home::handle"),
            ("cruddur::store::read::<alloc::string::String>", "store::read"),
            ("<cruddur::runtime::App as cruddur::x::Y>::z", "App::z"),
            ("<core::pin::Pin<fn() -> A> as B>::poll", "Pin::poll"),
            ("main", "main"),
        ] {
            assert_eq!(short_function(function), short, "{function}");
        }
    }
}
