//! Draws traces as text, for a terminal or to copy: a row per request, or a waterfall.
//!
//! Texts in spans are untrusted, so control characters are escaped.

mod text;
pub mod trace;
mod frames;
pub mod line;
pub mod waterfall;
