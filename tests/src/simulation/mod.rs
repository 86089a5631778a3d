//! Whole networks of hosts in virtual time.

pub mod pattern;
pub mod ranges;
pub mod watcher;
