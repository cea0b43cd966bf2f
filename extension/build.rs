//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        // At a fixed address. Otherwise 13,000 pointers are adjusted, and the pages that hold them
        // copied, at every start of a sandbox before anything else happens: a fifth of our init.
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
