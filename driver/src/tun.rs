//! TUN: IP datagrams to and from the kernel of this host, without a link layer.

use std::net::IpAddr;

use crate::device::{Interface, Medium};
use crate::error::OpenError;
use crate::tap::QUEUE_LEN;
use crate::tuntap::Setup;

/// How to open a TUN interface; as [`crate::tap::Options`], without an address on the link.
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface; `tun%d` lets the kernel choose a number.
    pub name: String,
    /// Largest IP datagram; left as it is (1500 on a new interface) if `None`.
    pub mtu: Option<usize>,
    /// Exchange unfinished checksums and merged segments with the kernel.
    pub offload: bool,
    /// Queues, 1 to 256. More than one needs an interface that is new or was made with `multi_queue`.
    pub queues: usize,
    /// An address for the kernel's side with its prefix length, so that this host can reach the stack.
    pub host_address: Option<(IpAddr, u8)>,
    /// Datagrams that the kernel holds for us before it drops.
    pub queue_len: u32,
}

impl Options {
    /// One queue with all offloads on the interface `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mtu: None,
            offload: true,
            queues: 1,
            host_address: None,
            queue_len: QUEUE_LEN,
        }
    }

    /// Opens the interface and brings it up.
    ///
    /// # Errors
    /// One line that says what to do, see [`OpenError`].
    pub fn open(&self) -> Result<Interface, OpenError> {
        let setup = Setup {
            name: &self.name,
            medium: Medium::Ip,
            mtu: self.mtu,
            offload: self.offload,
            queues: self.queues,
            host_address: self.host_address,
            queue_len: self.queue_len,
        };
        Ok(setup.open()?.0)
    }
}
