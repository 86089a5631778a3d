//! What hosts, paths and channels are called.

pub use outlive::replication::Channel;
pub use outlive::replication::membership::PathId;
pub use outlive::replication::view::HostId;
