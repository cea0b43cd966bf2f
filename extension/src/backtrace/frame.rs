//! One call of a stack.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackFrame<'a> {
    /// The frame's number, 0 for the innermost, where the language prints it (Rust).
    pub number: Option<u32>,
    /// As the language prints it, such as `cruddur::store::read`, but without Rust's hash.
    pub function: Option<&'a str>,
    pub file: Option<&'a str>,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// Paths of libraries and runtimes, by the conventions of each language's installers.
const FOREIGN_PLACES: [&str; 16] = [
    "/rustc/",
    "/.cargo/",
    "/registry/src/",
    "/node_modules/",
    "node:",
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "/var/runtime/",
    "/var/lang/",
    "/usr/lib",
    "/usr/local/",
    "/opt/",
    "/gems/",
    "/go/pkg/mod/",
    "/toolchains/",
];

/// Prefixes of functions of languages, runtimes and their usual libraries, for any frame: a frame may
/// have no file, or a file without its directories.
const FOREIGN_FUNCTIONS: [&str; 14] = [
    "std::",
    "core::",
    "alloc::",
    "tokio::",
    "hyper::",
    "tower::",
    "lambda_runtime::",
    "rust_begin_unwind",
    "__",
    "_start",
    "java.",
    "jdk.",
    "System.",
    "runtime.",
];

impl StackFrame<'_> {
    /// Whether the frame belongs to the program, and not to a library or runtime, by its path and
    /// function. Without a file, a function without a module is not the program's.
    pub fn is_ours(&self) -> bool {
        let function = self.function.unwrap_or_default().trim_start_matches(['<', '&']);
        let is_foreign = FOREIGN_FUNCTIONS.iter().any(|prefix| function.starts_with(prefix));
        match self.file {
            Some(file) => !is_foreign && !FOREIGN_PLACES.iter().any(|place| file.contains(place)),
            None => !is_foreign && function.contains([':', '.']),
        }
    }
}
