//! What hosts, paths and channels are called.

/// A host: 0 and 1 are the servers, 2 is the witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u8);
/// A path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u8);
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

impl std::fmt::Display for HostId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host {}", self.0)
    }
}
