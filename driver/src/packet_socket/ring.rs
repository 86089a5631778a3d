//! Frames in by a ring that the kernel fills in shared memory (`Documentation/networking/packet_mmap.rst`,
//! TPACKET_V2: a frame is visible as soon as it is written, where V3 waits for a block to fill).
//!
//! A frame is copied out at once and its slot given back, since frames may be kept for as long as a reader
//! is slow, and a ring whose slots are kept stops.

use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::receive::Message;
use super::socket::PacketSocket;
use crate::block::Blocks;
use crate::error::OpenError;
use crate::vnet::VNET_HEADER_BYTES;

/// Room for a merged frame of 64 KiB and the header in front of it; a multiple of the page.
const SLOT_BYTES: usize = 68 * 1024;
/// The kernel allocates by powers of two; a slot does not cross a block.
const BLOCK_BYTES: usize = 1 << 20;
const SLOTS_PER_BLOCK: usize = BLOCK_BYTES / SLOT_BYTES;
const BLOCKS: usize = 32;
const SLOTS: usize = BLOCKS * SLOTS_PER_BLOCK;

pub(super) struct Ring {
    memory: MmapRaw,
    next: usize,
}

impl Ring {
    /// Makes the ring of a socket that is not bound yet.
    pub(super) fn map(socket: &PacketSocket) -> Result<Self, OpenError> {
        let doing = "making a receive ring";
        socket.set(
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V2 as libc::c_int),
            doing,
        )?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: SLOT_BYTES as u32,
            tp_frame_nr: SLOTS as u32,
        };
        socket.set(libc::PACKET_RX_RING, &request, doing)?;
        let memory = MmapOptions::new()
            .len(BLOCKS * BLOCK_BYTES)
            .populate()
            .map_raw(socket.raw())
            .map_err(|error| socket.error("mapping its receive ring", error))?;
        Ok(Self { memory, next: 0 })
    }

    /// The next frame, if there is one.
    pub(super) fn read(&mut self, blocks: &mut Blocks) -> Option<Message> {
        let offset =
            self.next / SLOTS_PER_BLOCK * BLOCK_BYTES + self.next % SLOTS_PER_BLOCK * SLOT_BYTES;
        // SAFETY: `next` is below SLOTS, so the slot lies in the mapping.
        let slot = unsafe { self.memory.as_mut_ptr().add(offset) };
        let header = slot.cast::<libc::tpacket2_hdr>();
        // SAFETY: a slot is aligned to pages and begins with this header; the status word is shared with
        // the kernel, and both sides touch it atomically.
        let status = unsafe { AtomicU32::from_ptr(&raw mut (*header).tp_status) };
        // Acquire: what the kernel wrote before it set the bit is read after it.
        let flags = status.load(Ordering::Acquire);
        if flags & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: until the status is given back, the kernel leaves the slot alone.
        let header = unsafe { header.read() };
        let begin = usize::from(header.tp_mac)
            .saturating_sub(VNET_HEADER_BYTES)
            .min(SLOT_BYTES);
        let length = (header.tp_snaplen as usize + VNET_HEADER_BYTES).min(SLOT_BYTES - begin);
        let room = blocks.room();
        let length = length.min(room.len());
        // SAFETY: `begin + length` is within the slot, `length` within the room, and the two do not
        // overlap: one is mapped, one allocated.
        let bytes = unsafe {
            std::ptr::copy_nonoverlapping(slot.add(begin), room.as_mut_ptr().cast(), length);
            blocks.take(length)
        };
        // Release: the copy is made before the kernel may write here again.
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % SLOTS;
        Some(Message {
            bytes,
            truncated: header.tp_snaplen < header.tp_len,
            vlan_tci: (flags & libc::TP_STATUS_VLAN_VALID != 0).then_some(header.tp_vlan_tci),
        })
    }
}
