//! The frames of each language, which are lines.

use crate::backtrace::frame::StackFrame;

/// `4: cruddur::store::read::h0123456789abcdef`, a frame's first line. The second line,
/// its place, may be missing.
pub(super) fn rust_function(line: &str) -> Option<(u32, &str)> {
    let (number, function) = line.split_once(": ")?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // With `RUST_BACKTRACE=full` the address comes first.
    let function = match function.split_once(" - ") {
        Some((address, function)) if address.trim().starts_with("0x") => function,
        _ => function,
    };
    let hash = function
        .rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Some((number.parse().ok()?, hash.map_or(function, |(function, _)| function)))
}

/// After `at `: `function (file:line:column)`, `file:line:column`, Java's `function(file:line)`, or .NET's
/// `function(types) in file:line 12`. Text after the place is left out, such as `{` or a library's name.
pub(super) fn call_at(call: &str) -> StackFrame<'_> {
    let call = call.strip_prefix("async ").unwrap_or(call);
    if let Some((function, place)) = call.split_once(" in ")
        && let Some((file, line)) = place.rsplit_once(":line ")
    {
        return StackFrame { file: text(file), line: leading_number(line), ..called(function) };
    }
    let Some((function, place)) = last_parenthesis(call) else { return at(first_place(call)) };
    let is_java =
        [".java", ".kt", ".scala", ".groovy", ".clj"].iter().any(|end| place.ends_with(end));
    let found = at(first_place(place));
    if found.line.is_some() || is_java {
        return StackFrame { function: text(function.trim()), ..found };
    }
    // `(Native Method)` and `(index 0)` do not name a file; .NET has types there.
    let is_java = ["Native Method", "Unknown Source", "native", "<anonymous>"].contains(&place);
    let without_place = if is_java || function.ends_with(' ') { function } else { call };
    called(without_place)
}

/// `File "path", line 12, in function`
pub(super) fn python_frame(line: &str) -> Option<StackFrame<'_>> {
    let (file, rest) = line.strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, function) = rest.split_once(", in ").unwrap_or((rest, ""));
    Some(StackFrame { file: text(file), line: leading_number(number), ..called(function) })
}

/// A frame of Ruby, and the message and class of the exception that the first line of a stack has:
/// ``/a.rb:3:in `f': no order (KeyError)``, or without them ``from /a.rb:9:in `g'``.
pub(super) fn ruby_frame(line: &str) -> Option<(StackFrame<'_>, Option<(&str, &str)>)> {
    let line = line.strip_prefix("from ").unwrap_or(line);
    let (place, rest) = line.split_once(":in ")?;
    let rest = rest.strip_prefix(['`', '\''])?;
    let (function, rest) = rest.split_once('\'')?;
    let place = at(place);
    place.line?;
    let thrown = rest.strip_prefix(": ").map(|thrown| {
        let named = thrown.strip_suffix(')').and_then(|it| it.rsplit_once(" ("));
        named.unwrap_or((thrown, ""))
    });
    Some((StackFrame { function: text(function), ..place }, thrown))
}

/// `#0 /a.php(12): f()`, `#1 [internal function]: g()`, or `#2 {main}`, which has no frame.
pub(super) fn php_frame(line: &str) -> Option<Option<StackFrame<'_>>> {
    let (number, call) = line.strip_prefix('#')?.split_once(' ')?;
    number.parse::<u32>().ok()?;
    if call == "{main}" {
        return Some(None);
    }
    if let Some(call) = call.strip_prefix("[internal function]: ") {
        return Some(Some(called(without_arguments(call))));
    }
    let (place, call) = call.split_once("): ")?;
    let (file, line) = place.rsplit_once('(')?;
    let line = Some(line.parse().ok()?);
    Some(Some(StackFrame { file: text(file), line, ..called(without_arguments(call)) }))
}

/// The second line of a frame of Go: a tab and `/a.go:12 +0x1d`.
pub(super) fn go_place(raw_line: &str) -> Option<StackFrame<'_>> {
    let place = raw_line.strip_prefix('\t')?.trim_end();
    let place = place.split_once(" +0x").map_or(place, |(place, _)| place);
    let found = at(place);
    let is_go = found.line.is_some()
        && found.file.is_some_and(|file| file.ends_with(".go") || file.ends_with(".s"));
    is_go.then_some(found)
}

/// The first line of a frame of Go: `main.(*T).f(0xc0000b2000)` or `created by main.f in goroutine 1`.
pub(super) fn go_function(line: &str) -> &str {
    let line = line.strip_prefix("created by ").unwrap_or(line);
    let line = line.split_once(" in goroutine ").map_or(line, |(function, _)| function);
    let arguments = last_parenthesis(line).filter(|_| line.ends_with(')'));
    arguments.map_or(line, |(function, _)| function)
}

/// Arguments may hold secrets.
fn without_arguments(call: &str) -> &str {
    call.split_once('(').map_or(call, |(function, _)| function)
}

/// The text in the last pair of parentheses, and the text before.
fn last_parenthesis(text: &str) -> Option<(&str, &str)> {
    let end = text.rfind(')')?;
    let mut depth = 1_u32;
    let start = text[..end].bytes().rposition(|byte| {
        depth = match byte {
            b')' => depth + 1,
            b'(' => depth - 1,
            _ => depth,
        };
        depth == 0
    })?;
    Some((&text[..start], &text[start + 1..end]))
}

/// A place without the text around it.
fn first_place(place: &str) -> &str {
    let place = place.trim_end_matches(['{', ' ']);
    // `eval at f (a.js:1:1), <anonymous>:1:1`
    let place = place.rsplit_once(", ").map_or(place, |(_, place)| place);
    place.strip_prefix("file://").unwrap_or(place)
}

pub(super) fn called(function: &str) -> StackFrame<'_> {
    StackFrame { function: text(function.trim()), ..StackFrame::default() }
}

/// `file:line:column` or `file:line`; both numbers may be missing.
pub(super) fn at(place: &str) -> StackFrame<'_> {
    let number = |place: &'_ str| {
        let (file, number) = place.rsplit_once(':')?;
        Some((file.len(), number.parse::<u32>().ok()?))
    };
    let (file, line, column) = match number(place) {
        None => (place, None, None),
        Some((end, last)) => match number(&place[..end]) {
            Some((end, line)) => (&place[..end], Some(line), Some(last)),
            None => (&place[..end], Some(last), None),
        },
    };
    StackFrame { file: text(file), line, column, ..StackFrame::default() }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
