//! One file per route: what it answers to, and how.

pub mod health_check;
pub mod home_activities;
