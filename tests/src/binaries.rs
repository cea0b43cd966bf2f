//! The real programs under test: built once per test process, so that nobody tests a stale one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::sandbox::environment::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN};

/// Where the programs are: links of this test process's own, which no later build changes.
#[derive(Debug)]
pub struct Binaries {
    directory: PathBuf,
}

/// The extension, and what writes the demo data; the functions are [`functions`].
const OTHER_PROGRAMS: [&str; 3] = ["cruddur-telemetry", "functions", "seed"];

/// The names of all functions, in alphabetical order: one for each file in `functions/src/bin`.
pub fn functions() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/src/bin");
    let files = fs::read_dir(&directory).expect("the functions are beside the tests").flatten();
    let name = |file: fs::DirEntry| {
        file.file_name().to_str().and_then(|name| name.strip_suffix(".rs")).map(str::to_owned)
    };
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.sort();
    names
}

/// The function that a sample event is for: those are named by it, and what is particular about them.
pub fn function_of(sample: &str) -> &str {
    let all = functions();
    let function =
        all.iter().filter(|name| sample.starts_with(name.as_str())).max_by_key(|n| n.len());
    &sample[..function.unwrap_or_else(|| panic!("{sample} is of no function")).len()]
}

impl Binaries {
    /// A function, by its endpoint's name, or the extension `cruddur-telemetry`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the demo data into the store that these variables lead to.
    pub fn seed(&self, variables: &[(&str, String)]) {
        let credentials = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
            ("AWS_REGION", REGION),
        ];
        let seeded = Command::new(self.directory.join("seed"))
            .envs(credentials)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("`seed` starts");
        assert!(seeded.status.success(), "seed: {}", String::from_utf8_lossy(&seeded.stderr));
    }
}

/// Builds all programs at the first call, as `make run` does; panics if that fails.
///
/// With the feature `local`: the functions then read the embedded store.
pub fn binaries() -> &'static Binaries {
    // A failure is kept, too: each test would only build in vain again.
    static BUILT: OnceLock<Option<Binaries>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().then(|| Binaries { directory: link_programs() }));
    built.as_ref().expect("the programs under test build; cargo's own output says why not")
}

/// Removes the variables by which cargo describes a test's package to it. The build script of a
/// dependency reads them too, so every other build would compile its dependents anew.
pub fn remove_package_variables(command: &mut Command) {
    let is_of_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_package) {
            command.env_remove(name);
        }
    }
}

fn build() -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    remove_package_variables(&mut command);
    let built = command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["build", "--bins", "--features", "cruddur/local"])
        .status()
        .expect("cargo starts");
    built.success()
}

/// Another build may replace a program while tests run; its old file lives on under our link.
fn link_programs() -> PathBuf {
    let debug = debug_directory();
    let shared = debug.with_file_name("under-test");
    remove_what_ended_processes_left(&shared);
    let own = shared.join(std::process::id().to_string());
    fs::create_dir_all(&own).expect("a directory beside target/debug");
    for name in functions().iter().map(String::as_str).chain(OTHER_PROGRAMS) {
        let program = debug.join(name);
        fs::hard_link(&program, own.join(name))
            .unwrap_or_else(|problem| panic!("{}: {problem}", program.display()));
    }
    own
}

fn remove_what_ended_processes_left(shared: &Path) {
    for entry in fs::read_dir(shared).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            // Another test process may be removing it, too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// `target/debug`, wherever the target directory is: this executable lies in its `deps`.
fn debug_directory() -> PathBuf {
    let executable = std::env::current_exe().expect("this test has a path");
    let directory = executable.ancestors().nth(2).expect("tests lie in <target>/<profile>/deps");
    directory.with_file_name("debug")
}
