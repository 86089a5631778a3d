//! The real world around a replicated stack: secured links between the hosts, stable storage, configuration,
//! the witness.
//!
//! | module | job |
//! |---|---|
//! | [`companion`] | what the applications of both servers tell each other |
//! | [`config`] | the configuration file |
//! | [`control`], [`report`] | what a running host is asked, and what it answers |
//! | [`fence`] | the command that switches the other host off |
//! | [`key`] | the key that all hosts of a cluster share |
//! | [`link`] | authenticated and encrypted links: heartbeats, commits, snapshots |
//! | `keeper` | the thread that stores votes |
//! | [`membership`] | from the configuration to a vote, and its memory |
//! | [`server`], [`witness`] | the two kinds of hosts |
//! | [`realtime`] | priority for the thread of the heartbeats |
//! | [`runtime`] | the thread of the heartbeats |
//! | [`storage`] | what survives a restart |
//!
//! # The configuration file
//! ```toml
#![doc = include_str!("../example.toml")]
//! ```

pub mod companion;
pub mod config;
pub mod control;
pub mod fence;
pub mod id;
mod interfaces;
mod keeper;
pub mod key;
pub mod link;
pub mod membership;
mod probe;
pub mod realtime;
pub mod report;
pub mod runtime;
pub mod server;
mod status;
pub mod storage;
pub mod witness;

pub use id::{Channel, HostId, PathId};
