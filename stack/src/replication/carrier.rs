//! What a node needs of the world: messages to other hosts, and stable storage.

use std::io;
use std::task::Poll;

use bytes::Bytes;

use super::membership::{Durable, PathId};
use super::view::HostId;

/// A way for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Datagrams on one path; they may be lost, repeated and late.
    Heartbeat(PathId),
    /// In order, and reliable while it is connected.
    Commit,
    /// The same for what is large and not urgent; it must not delay the other two.
    Bulk,
}

/// Brings messages to other hosts.
pub trait Carrier: Send + Sync {
    /// Sends `message`, soon or never. Called from threads of the stack with locks of the node held: it
    /// must not block, and must not call the node back before it returns.
    fn send(&self, to: HostId, channel: Channel, message: Bytes);
}

/// Keeps what a voter must not forget.
pub trait Storage: Send + Sync {
    /// Puts it on stable storage. Ready once it is there, or could not be; pending when it takes a while: then
    /// [`super::Node::stored`] has to be told of the outcome, and nothing else is stored before. What follows from the vote
    /// waits so long; heartbeats do not. Called with locks of the node held: it must not call the node back before
    /// it returns.
    ///
    /// # Errors
    /// When it is not there; then the node falls silent for good.
    fn store(&self, durable: &Durable) -> Poll<io::Result<()>>;
}

/// Switches hosts off.
pub trait Fence: Send + Sync {
    /// Begins to switch `host` off; the outcome is told to [`super::Node::fenced`]. Must not block.
    fn fence(&self, host: HostId);
}

/// For those who have nothing to switch others off with.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFence;

impl Fence for NoFence {
    fn fence(&self, _: HostId) {}
}
