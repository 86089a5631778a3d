//! Frames in: one `recvmsg` per frame, straight behind the previous frame in a block; or from a ring.
//!
//! Chosen by measurement (veth, Linux 6.18, best of four runs of 400 rounds that first fill the queue and then drain it,
//! ns per frame for both together; the ring's frames are copied into blocks, as they have to outlive
//! their slot):
//!
//! | bytes of a frame | `recvmsg` | `recvmmsg` of 3 · 16 | TPACKET_V2 ring |
//! |---|---|---|---|
//! | 60 | 1,506 | 1,495 · 1,461 | 1,184 |
//! | 1,514 | 1,610 | 1,642 · 1,688 | 1,522 |
//! | 65,000 | 21,800 | 28,700 · 23,700 | 27,000 |
//!
//! `recvmmsg` must be given room for a merged frame per message, which scatters the small ones. The ring
//! saves a fifth on tiny frames and 230 ns on a look that finds nothing, out of some 20 µs that a
//! request takes; bulk, which comes as merged frames, pays a fifth for the second copy. But its memory is not
//! bound by `net.core.rmem_max` (6 merged frames by default), which only root of the machine may exceed.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::ring::Ring;
use super::socket::PacketSocket;
use crate::block::Blocks;
use crate::counters::DeviceCounters;
use crate::device::Receive;
use crate::frame::RxFrame;
use crate::vnet::{self, VNET_HEADER_BYTES};

/// Calls between two looks at the kernel's count of drops, which costs a system call.
const STATISTICS_EVERY: u32 = 256;

/// Looks at an empty ring between two looks at the socket's error, which costs a system call.
const ERROR_EVERY: u32 = 64;

/// Room for the one control message that we ask for, aligned as the kernel's macros want it.
#[repr(C, align(8))]
struct Control([u8; 64]);

pub(super) struct PacketReceive {
    socket: Arc<PacketSocket>,
    counters: Arc<DeviceCounters>,
    blocks: Blocks,
    ring: Option<Ring>,
    calls: u32,
    empty: u32,
    /// The interface went down; it may come back, or be gone.
    down: bool,
}

/// A frame as the kernel handed it over.
pub(super) struct Message {
    /// With the vnet header in front.
    pub(super) bytes: Bytes,
    pub(super) truncated: bool,
    pub(super) vlan_tci: Option<u16>,
}

impl PacketReceive {
    pub(super) fn new(
        socket: Arc<PacketSocket>,
        counters: Arc<DeviceCounters>,
        ring: Option<Ring>,
    ) -> Self {
        let blocks = Blocks::new();
        Self {
            socket,
            counters,
            blocks,
            ring,
            calls: 0,
            empty: 0,
            down: false,
        }
    }

    fn read(&mut self) -> io::Result<Message> {
        let Some(ring) = &mut self.ring else {
            return self.call();
        };
        if let Some(message) = ring.read(&mut self.blocks) {
            return Ok(message);
        }
        self.empty = self.empty.wrapping_add(1);
        if self.empty.is_multiple_of(ERROR_EVERY) {
            self.socket.take_error()?;
        }
        Err(io::Error::from(ErrorKind::WouldBlock))
    }

    fn call(&mut self) -> io::Result<Message> {
        let room = self.blocks.room();
        let mut slice = libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        };
        let mut control = Control([0; 64]);
        // SAFETY: all-zero is a valid `msghdr`: null pointers with zero lengths.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut slice;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>() as _;
        // SAFETY: the message describes the room and the control block, which outlive the call.
        let n = unsafe { libc::recvmsg(self.socket.raw(), &raw mut message, 0) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        let vlan_tci = vlan_tag(&message);
        Ok(Message {
            // SAFETY: the kernel wrote the first `n` bytes of the room.
            bytes: unsafe { self.blocks.take(n) },
            truncated: message.msg_flags & libc::MSG_TRUNC != 0,
            vlan_tci,
        })
    }

    fn look_at_statistics(&mut self) {
        self.calls += 1;
        if self.calls.is_multiple_of(STATISTICS_EVERY) {
            self.count_drops();
        }
    }

    fn count_drops(&self) {
        let dropped = self.socket.dropped();
        if dropped > 0 {
            self.counters.overflowed(&self.socket.name, dropped);
        }
    }
}

/// The VLAN tag that the kernel took out of the frame, if it did.
fn vlan_tag(message: &libc::msghdr) -> Option<u16> {
    // SAFETY: the message was filled by `recvmsg` and its control block is alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or a header inside the control block.
    while let Some(found) = unsafe { header.as_ref() } {
        if found.cmsg_level == libc::SOL_PACKET && found.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: the kernel wrote a `tpacket_auxdata` there; it may be unaligned.
            let data = unsafe {
                libc::CMSG_DATA(header)
                    .cast::<libc::tpacket_auxdata>()
                    .read_unaligned()
            };
            let tagged = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
            return tagged.then_some(data.tp_vlan_tci);
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

fn decode(message: Message) -> Option<RxFrame> {
    let mut bytes = message.bytes;
    let header = *bytes.first_chunk::<VNET_HEADER_BYTES>()?;
    bytes.advance(VNET_HEADER_BYTES);
    vnet::receive(&header, bytes, message.vlan_tci)
}

impl Receive for PacketReceive {
    fn receive(&mut self, into: &mut Vec<RxFrame>, limit: usize) -> io::Result<usize> {
        let (mut frames, mut bytes) = (0, 0);
        let result = loop {
            if frames == limit {
                break Ok(());
            }
            let message = match self.read() {
                Ok(message) => message,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.down && self.socket.is_gone() {
                        break Err(io::Error::from_raw_os_error(libc::ENODEV));
                    }
                    break Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {
                    tracing::debug!(interface = self.socket.name, "the interface is down");
                    self.down = true;
                    continue;
                }
                // A frame that the kernel could not describe in a vnet header, and dropped.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.counters
                        .malformed(&self.socket.name, "no vnet header for it");
                    continue;
                }
                Err(error) => break Err(error),
            };
            let truncated = message.truncated;
            match decode(message).filter(|_| !truncated) {
                Some(frame) => {
                    frames += 1;
                    bytes += frame.data.len();
                    into.push(frame);
                }
                None => self
                    .counters
                    .malformed(&self.socket.name, "vnet header, or cut off"),
            }
        };
        self.counters.received(frames, bytes);
        if frames > 0 {
            self.down = false;
            self.look_at_statistics();
        }
        result.map(|()| frames)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

impl Drop for PacketReceive {
    fn drop(&mut self) {
        self.count_drops();
    }
}
