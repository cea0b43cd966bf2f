//! Settings of the items that failures become.

use std::fmt;

use crate::processor::failures::item::ItemLevel;

/// The function's description in items, and the secrets to mask.
#[derive(Clone, Debug)]
pub struct FailureSettings {
    pub function_name: String,
    pub function_version: Option<String>,
    /// The code's version in items of functions that send none.
    pub revision: Option<String>,
    pub region: Option<String>,
    /// Names of secrets in addition to the built-in list; `None` masks nothing.
    pub scrub: Option<Vec<String>>,
    pub items: ItemSettings,
    /// Most bytes of texts that wait to become items: a share of the buffer, which has as much less.
    pub max_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct ItemSettings {
    pub environment: String,
    /// Failures below this level do not become items.
    pub min_level: ItemLevel,
    pub client_address: ClientAddress,
    /// The URL of a trace, with `{trace_id}` in place of its id.
    pub trace_url: Option<String>,
    pub memory_mb: Option<u64>,
    /// The name of the sandbox's log stream, for spans without a host.
    pub host: Option<String>,
}

/// The part of a client's address that items show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    Whole,
    /// IPv4 with 0 as the last part; the first 48 bits of IPv6.
    Anonymized,
    None,
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Anonymized => "without its last part",
            Self::None => "never",
        })
    }
}
