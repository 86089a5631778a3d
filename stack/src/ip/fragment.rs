//! Cutting a datagram that is larger than the way to its destination (RFC 791 §3.2), without copying
//! its payload.

use arrayvec::ArrayVec;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::packet::TxFrame;
use crate::wire::ipv4::MAX_OPTIONS_LEN;

use super::options::for_later_fragments;

/// One fragment without its IP header.
#[derive(Debug)]
pub(super) struct Fragment {
    /// Its part of the payload.
    pub(super) frame: TxFrame,
    /// Its IP options.
    pub(super) options: ArrayVec<u8, MAX_OPTIONS_LEN>,
    /// Where it begins in the payload, in bytes.
    pub(super) offset: u16,
    /// True for all but the last.
    pub(super) more: bool,
}

/// Cuts the IP payload `frame`, whose checksum is complete, into fragments that fit `mtu` with an IP
/// header that carries `options`.
///
/// # Panics
/// When `mtu` does not leave room for 8 bytes behind a header with 40 bytes of options: 68 does.
pub(super) fn cut(frame: &TxFrame, options: &[u8], mtu: usize, mut each: impl FnMut(Fragment)) {
    let total = frame.len();
    let mut pieces = Pieces::new(frame);
    let mut offset = 0;
    let first_options = options
        .iter()
        .copied()
        .collect::<ArrayVec<u8, MAX_OPTIONS_LEN>>();
    let later_options = for_later_fragments(options);
    while offset < total {
        let options = if offset == 0 {
            &first_options
        } else {
            &later_options
        };
        let room = (mtu - crate::wire::ipv4::header_len(options.len())) / 8 * 8;
        assert!(room > 0, "an MTU below the minimum");
        let len = room.min(total - offset);
        each(Fragment {
            frame: TxFrame {
                payload: pieces.take(len),
                ..TxFrame::default()
            },
            options: options.clone(),
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
