//! What every device offers: batches of frames in, batches of frames out, and its capabilities.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::counters::DeviceCounters;
use crate::frame::{RxFrame, TxFrame};

/// What frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// An Ethernet II header.
    Ethernet,
    /// An IP header: no link layer, no neighbours.
    Ip,
}

/// What a device can do, so that the stack need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What frames begin with.
    pub medium: Medium,
    /// Largest IP datagram on the wire, in bytes.
    pub mtu: usize,
    /// The address that frames for the stack are sent to; none on [`Medium::Ip`].
    pub mac: Option<[u8; 6]>,
    /// Frames may be sent with [`crate::Checksum::Partial`].
    pub tx_checksum: bool,
    /// TCP over IPv4 may be handed over in segments larger than the MTU.
    pub tso4: bool,
    /// The same over IPv6.
    pub tso6: bool,
    /// UDP may be handed over as several datagrams in one.
    pub uso: bool,
    /// Largest IP datagram that may be handed over for cutting, in bytes. One of more than 65,535, which
    /// only IPv4 makes use of, has a total length of zero (Linux's BIG TCP).
    pub max_segmented_bytes: usize,
}

impl Capabilities {
    /// Ethernet without any offload.
    #[must_use]
    pub const fn plain_ethernet(mac: [u8; 6], mtu: usize) -> Self {
        Self {
            medium: Medium::Ethernet,
            mtu,
            mac: Some(mac),
            tx_checksum: false,
            tso4: false,
            tso6: false,
            uso: false,
            max_segmented_bytes: mtu,
        }
    }
}

/// The receiving half of a queue.
pub trait Receive: Send {
    /// Appends the frames that are there, `limit` at most, without blocking; returns how many.
    ///
    /// # Errors
    /// When the device is gone. Nothing to receive is `Ok(0)`.
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize>;

    /// A descriptor that is readable when [`Receive::receive`] may find something; none for devices in
    /// memory, which are stepped and never waited for.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The transmitting half of a queue.
pub trait Transmit: Send {
    /// Sends from the front of `batch` until it is empty or the device accepts no more; what is left
    /// stays, in order. A frame that the device can never take (too long, payload gone) is dropped and
    /// counted, so that it cannot block those behind it.
    ///
    /// # Errors
    /// When the device is gone.
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()>;

    /// A descriptor that is writable when a full device accepts frames again.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// One queue of a device, in two halves that may live on two threads.
pub struct Queue {
    /// Frames in.
    pub receive: Box<dyn Receive>,
    /// Frames out.
    pub transmit: Box<dyn Transmit>,
}

/// An open device.
pub struct Interface {
    /// For messages to people.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// At least one. The device keeps all frames of a flow on one of them.
    pub queues: Vec<Queue>,
    /// What it counts, for as long as anybody asks.
    pub counters: Arc<DeviceCounters>,
}
