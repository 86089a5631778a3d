//! The real world around a replicated stack: secured links between the hosts, stable storage, configuration,
//! the witness.

pub mod id;
pub mod key;
pub mod link;

pub use id::{Channel, HostId, PathId};
