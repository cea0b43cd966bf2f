//! The port: every engine behaves alike.

use super::*;

mod concurrency;
mod paging;
mod reads;
mod writes;
