//! How destinations and AWS are reached.

pub mod network;
mod trust;
mod connector;
pub mod http;
pub mod aws;
pub mod freeze;
pub mod secret;
