//! AF_PACKET (packet(7)): Ethernet frames on an existing interface, beside the host's own kernel.
//!
//! The stack has a link-layer address of its own there, so that the kernel never takes its frames for
//! its own; the interface is promiscuous, and a filter in the kernel passes up only frames for that
//! address and for groups. veth and bridges hand over frames with unfinished checksums and merged
//! segments: `PACKET_VNET_HDR` says so, the bytes alone do not.
//!
//! Left out: transmit rings, which are slower than `sendmmsg` for merged frames.

mod filter;
mod receive;
mod ring;
mod socket;
mod transmit;

use std::sync::Arc;

use crate::counters::DeviceCounters;
use crate::device::{Capabilities, Interface, Medium, Queue};
use crate::error::OpenError;
use crate::netdev::{self, NetDev, check_mac, derive_mac};
use receive::PacketReceive;
use ring::Ring;
use socket::PacketSocket;
use transmit::PacketTransmit;

/// Bytes that the kernel queues in each direction: several times an 8 MB window, since it counts the
/// memory of its buffers, twice what is in them.
pub const BUFFER_BYTES: usize = 32 << 20;

/// `ARPHRD_ETHER`: Ethernet, and everything that frames like it.
const ETHERNET: u16 = 1;

/// How frames are fetched from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By calls, which is faster in bulk; by a ring where the kernel refuses a socket buffer that holds a
    /// window of merged frames, as it does without privilege over the whole machine.
    #[default]
    Automatic,
    /// By `recvmsg`.
    Calls,
    /// From a ring in shared memory: 32 MiB for each queue.
    Ring,
}

/// How to attach to an interface that exists.
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface.
    pub name: String,
    /// Send unfinished checksums and segments of up to 64 KiB; the kernel cuts what the hardware does not.
    /// What others left unfinished is received so in any case.
    pub offload: bool,
    /// Queues, 1 to 256. The kernel keeps each flow on one of them.
    pub queues: usize,
    /// The stack's address on the link; derived from the interface if `None`. Never the kernel's there.
    pub mac: Option<[u8; 6]>,
    /// Receive every frame on the link, whoever it is for: for relays and captures.
    pub every_frame: bool,
    /// Bytes that the kernel queues in each direction, as far as it allows.
    pub buffer_bytes: usize,
    /// How frames are fetched.
    pub method: Method,
}

impl Options {
    /// One queue with all offloads on the interface `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            offload: true,
            queues: 1,
            mac: None,
            every_frame: false,
            buffer_bytes: BUFFER_BYTES,
            method: Method::Automatic,
        }
    }

    /// Attaches to the interface, which is left as it is but for being promiscuous meanwhile.
    ///
    /// # Errors
    /// One line that says what to do, see [`OpenError`].
    pub fn open(&self) -> Result<Interface, OpenError> {
        netdev::check_name(&self.name)?;
        if !(1..=256).contains(&self.queues) {
            return Err(OpenError::BadOption(format!(
                "{} queues: use 1 to 256",
                self.queues
            )));
        }
        let link = self.find()?;
        let netdev = NetDev::new(&self.name)?;
        let (kind, kernel_side) = netdev.hardware()?;
        if kind != ETHERNET {
            return Err(OpenError::WrongKind {
                name: self.name.clone(),
                wanted: "Ethernet",
                why: "its frames have no Ethernet header".into(),
            });
        }
        let mac = self
            .mac
            .unwrap_or_else(|| derive_mac(&self.name, kernel_side));
        check_mac(mac, kernel_side)?;
        let mtu = netdev.mtu()?;
        let capabilities = Capabilities {
            medium: Medium::Ethernet,
            mtu,
            mac: Some(mac),
            tx_checksum: self.offload,
            tso4: self.offload,
            tso6: self.offload,
            uso: self.offload && kernel_cuts_udp(),
            max_segmented_bytes: if self.offload { 65_535 } else { mtu },
        };
        let counters = Arc::new(DeviceCounters::default());
        let queues = self.open_queues(link, mac, &counters)?;
        tracing::debug!(interface = self.name, ?capabilities, "attached");
        Ok(Interface {
            name: self.name.clone(),
            capabilities,
            queues,
            counters,
        })
    }

    /// The interface's index, if it exists and is up.
    fn find(&self) -> Result<u32, OpenError> {
        let name = self.name.clone();
        let all = pnet::datalink::interfaces();
        let Some(found) = all.iter().find(|interface| interface.name == name) else {
            return Err(OpenError::NoSuchInterface {
                name,
                existing: netdev::existing(),
            });
        };
        if !found.is_up() {
            return Err(OpenError::Down { name });
        }
        Ok(found.index)
    }

    fn open_queues(
        &self,
        link: u32,
        mac: [u8; 6],
        counters: &Arc<DeviceCounters>,
    ) -> Result<Vec<Queue>, OpenError> {
        let mut group = None;
        let mut queues = Vec::with_capacity(self.queues);
        for _ in 0..self.queues {
            let socket = PacketSocket::open(&self.name, link)?;
            let granted = socket.set_buffers(self.buffer_bytes);
            let by_ring = match self.method {
                Method::Automatic => !granted,
                Method::Calls => false,
                Method::Ring => true,
            };
            let ring = by_ring.then(|| Ring::map(&socket)).transpose()?;
            if !self.every_frame {
                socket.filter(&filter::for_address(mac))?;
            }
            socket.bind()?;
            if self.queues > 1 {
                group = Some(socket.join_fanout(group)?);
            }
            let socket = Arc::new(socket);
            queues.push(Queue {
                receive: Box::new(PacketReceive::new(
                    Arc::clone(&socket),
                    Arc::clone(counters),
                    ring,
                )),
                transmit: Box::new(PacketTransmit::new(socket, Arc::clone(counters))),
            });
        }
        Ok(queues)
    }
}

/// `VIRTIO_NET_HDR_GSO_UDP_L4` came with Linux 6.2; earlier ones refuse such frames.
fn kernel_cuts_udp() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    let (major, minor): (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (6, 2)
}
