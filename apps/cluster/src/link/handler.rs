//! What stands above the links.

use bytes::Bytes;

use crate::id::{Channel, HostId};

/// Told of what arrives and of what comes up and breaks, on the links' own threads.
pub trait Handler: Send + Sync + 'static {
    /// A genuine message. On the ordered channels of one host: in the order in which they were sent, and none
    /// missing between `connected(true)` and `connected(false)`.
    fn received(&self, from: HostId, channel: Channel, message: Bytes);

    /// Both ordered channels with `peer` came up, or broke. Messages of the broken ones come no more.
    fn connected(&self, peer: HostId, up: bool);

    /// The kernel of `peer` says that nobody listens there any more: the process has ended, the host lives.
    /// A hint: whoever is on the network could have said so.
    fn process_died(&self, peer: HostId);
}
