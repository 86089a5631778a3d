//! The real world around a replicated stack: secured links between the hosts, stable storage, configuration,
//! the witness.
//!
//! | module | job |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`key`] | the key that all hosts of a cluster share |
//! | [`link`] | authenticated and encrypted links: heartbeats, commits, snapshots |
//! | [`storage`] | what survives a restart |
//!
//! # The configuration file
//! ```toml
#![doc = include_str!("../example.toml")]
//! ```

pub mod config;
pub mod id;
pub mod key;
pub mod link;
pub mod storage;

pub use id::{Channel, HostId, PathId};
