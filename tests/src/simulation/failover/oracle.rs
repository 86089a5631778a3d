//! What judges every frame on the service network. Both servers are one host to it: the rules of the
//! [`Watcher`] (ACK numbers, right edges and TSval never go back, a byte sent again is the same byte, nothing is
//! acknowledged that did not arrive) hold across takeovers.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddrV4};

use crate::decode::{Decoded, decode};
use crate::simulation::watcher::Watcher;

/// Sees all frames.
#[derive(Default)]
pub struct Oracle {
    watcher: Watcher,
    fused: bool,
    complaints: Vec<String>,
    may_reset: BTreeSet<IpAddr>,
    /// RSTs for connections that both ends had closed in order.
    pub resets_after_the_end: u64,
}

impl Oracle {
    /// Looks at no frame any more: for transfers beyond what the watcher can keep.
    pub fn set_fused(&mut self) {
        self.fused = true;
    }

    pub(super) const fn is_fused(&self) -> bool {
        self.fused
    }

    /// Connections of `client` may be aborted.
    pub fn allow_reset(&mut self, client: IpAddr) {
        self.may_reset.insert(client);
    }

    /// What is on the wires.
    #[must_use]
    pub const fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// What was noted without ending the run at once.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    pub(super) fn blame(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// A frame leaves a host.
    pub(super) fn sent(&mut self, frame: &[u8], mtu: usize, strict: bool) -> Result<(), String> {
        self.watcher.sent(frame, mtu, strict)?;
        if let Ok(Decoded::Tcp(segment)) = decode(frame)
            && segment.rst
        {
            let ends = [segment.source, segment.destination];
            let allowed = |end: &SocketAddrV4| self.may_reset.contains(&IpAddr::V4(*end.ip()));
            // A second ACK of a FIN meets a server that has forgotten the connection; so does its client.
            let ended = self.watcher.has_ended(ends[0], ends[1]);
            self.resets_after_the_end += u64::from(ended);
            if !ended && !ends.iter().any(allowed) {
                return Err(format!("a RST: {}", segment.summary()));
            }
        }
        Ok(())
    }

    /// A frame reaches a host.
    pub(super) fn arrived(&mut self, frame: &[u8]) {
        if !self.fused {
            self.watcher.arrived(frame);
        }
    }
}
