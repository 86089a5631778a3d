//! Cutting a datagram that is larger than the way to its destination (RFC 791 §3.2, RFC 8200 §4.5),
//! without copying its payload.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::packet::TxFrame;

/// One fragment without its IP header.
#[derive(Debug)]
pub(super) struct Fragment {
    /// Its part of the payload.
    pub(super) frame: TxFrame,
    /// Where it begins in the payload, in bytes.
    pub(super) offset: u16,
    /// True for all but the last.
    pub(super) more: bool,
}

/// Cuts the IP payload `frame`, whose checksum is complete, into a fragment of at most `first_room` bytes
/// and others of at most `later_room`.
///
/// # Panics
/// When a fragment would have no room for 8 bytes: any legal MTU has.
pub(super) fn cut(
    frame: &TxFrame,
    (first_room, later_room): (usize, usize),
    mut each: impl FnMut(Fragment),
) {
    let total = frame.len();
    let mut pieces = Pieces::new(frame);
    let mut offset = 0;
    while offset < total {
        let room = if offset == 0 { first_room } else { later_room };
        let room = room / 8 * 8;
        assert!(room > 0, "an MTU below the minimum");
        let len = room.min(total - offset);
        each(Fragment {
            frame: TxFrame {
                payload: pieces.take(len),
                ..TxFrame::default()
            },
            offset: offset as u16,
            more: offset + len < total,
        });
        offset += len;
    }
}

/// The slices of a frame, to be taken from the front.
struct Pieces {
    slices: SmallVec<[Bytes; 4]>,
    next: usize,
}

impl Pieces {
    fn new(frame: &TxFrame) -> Self {
        let head = Bytes::copy_from_slice(frame.head.as_slice());
        let slices = std::iter::once(head).chain(frame.payload.iter().cloned());
        Self {
            slices: slices.collect(),
            next: 0,
        }
    }

    fn take(&mut self, mut len: usize) -> SmallVec<[Bytes; 3]> {
        let mut taken = SmallVec::new();
        while len > 0 {
            let slice = &mut self.slices[self.next];
            let part = slice.split_to(len.min(slice.len()));
            len -= part.len();
            if slice.is_empty() {
                self.next += 1;
            }
            if !part.is_empty() {
                taken.push(part);
            }
        }
        taken
    }
}
