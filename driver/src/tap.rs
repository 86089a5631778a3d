//! TAP: Ethernet frames to and from the kernel of this host.

use std::net::IpAddr;

use crate::device::{Interface, Medium};
use crate::error::OpenError;
use crate::netdev::derive_mac;
use crate::tuntap::Setup;

/// Frames that the kernel holds for us before it drops. Its default of 1000 is less than an 8 MB window
/// of MTU 1500 (5,600 frames), and overflowing it collapses the throughput.
pub const QUEUE_LEN: u32 = 10_000;

/// How to open a TAP interface. What it does not exist yet is created, and goes away with the last
/// descriptor; an existing (persistent) one is attached to, by an ordinary user too if root gave it to
/// him (`ip tuntap add ... user`).
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface; `tap%d` lets the kernel choose a number.
    pub name: String,
    /// Largest IP datagram; left as it is (1500 on a new interface) if `None`.
    pub mtu: Option<usize>,
    /// Exchange unfinished checksums and merged segments with the kernel. Without it, every frame is as
    /// on a real wire.
    pub offload: bool,
    /// Queues, 1 to 256. More than one needs an interface that is new or was made with `multi_queue`.
    pub queues: usize,
    /// The stack's address on the link; derived from the interface if `None`. Never the kernel's there.
    pub mac: Option<[u8; 6]>,
    /// An address for the kernel's side with its prefix length, so that this host can reach the stack.
    pub host_address: Option<(IpAddr, u8)>,
    /// Frames that the kernel holds for us before it drops.
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
            mac: None,
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
            medium: Medium::Ethernet,
            mtu: self.mtu,
            offload: self.offload,
            queues: self.queues,
            host_address: self.host_address,
            queue_len: self.queue_len,
        };
        let (mut interface, netdev) = setup.open()?;
        let (_, kernel_side) = netdev.hardware()?;
        let mac = self
            .mac
            .unwrap_or_else(|| derive_mac(&interface.name, kernel_side));
        check_mac(mac, kernel_side)?;
        interface.capabilities.mac = Some(mac);
        Ok(interface)
    }
}

/// The stack needs a unicast address that is not the kernel's on the same link.
pub(crate) fn check_mac(mac: [u8; 6], kernel_side: [u8; 6]) -> Result<(), OpenError> {
    let why = if mac[0] & 1 != 0 || mac == [0; 6] {
        "not a unicast address"
    } else if mac == kernel_side {
        "the kernel has it on this link"
    } else {
        return Ok(());
    };
    let text = mac.map(|byte| format!("{byte:02x}")).join(":");
    Err(OpenError::BadOption(format!(
        "MAC address {text}: {why}; choose another"
    )))
}
