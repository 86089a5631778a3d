//! What hosts, paths and channels are called.

pub use outlive::replication::membership::PathId;
pub use outlive::replication::view::HostId;

/// Ways to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Datagrams.
    Heartbeat(PathId),
    /// Ordered.
    Commit,
    /// Ordered, large.
    Bulk,
}
