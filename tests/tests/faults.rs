//! The fault suite: one row per fault, and what became of every span in spite of it.
//!
//! The promise: nothing is lost while the sandbox or its `/tmp` lives; a SIGKILL loses at most the
//! invocation in progress, and says so at the next start. And no fault holds Next for longer than
//! the extension was told.
//!
//! A row sends spans whose ids it knows, and compares them with those decoded at Honeycomb, or at X-Ray,
//! and those in the spool's files. The extension's own sums are checked against that. Each row also shows that
//! its fault has happened. `make faults` prints the table of all rows.

mod answers;
mod disk;
mod frozen;
mod life;
mod network;
mod outcome;
mod rig;
mod second;
mod volume;
mod xray;
