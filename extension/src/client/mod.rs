//! How destinations and AWS are reached.

pub mod http;
pub mod aws;
pub mod freeze;
pub mod secret;
