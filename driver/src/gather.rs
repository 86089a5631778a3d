//! A frame as the list of slices that one system call takes.

use std::io::IoSlice;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::frame::TxFrame;
use crate::vnet::VNET_HEADER_BYTES;

/// Slices of one frame: enough in place for a vnet header, the head and six slices of payload.
pub(crate) type Slices<'a> = SmallVec<[IoSlice<'a>; 8]>;

/// Most slices that Linux takes in one call (`UIO_MAXIOV`).
const IOV_MAX: usize = 1024;

/// The vnet header, the head and the payload, in order; no bytes are copied.
pub(crate) fn gather<'a>(
    vnet: Option<&'a [u8; VNET_HEADER_BYTES]>,
    frame: &'a TxFrame,
) -> Slices<'a> {
    let head = frame.head.as_slice();
    let mut slices = Slices::new();
    slices.extend(vnet.map(|header| IoSlice::new(header)));
    if !head.is_empty() {
        slices.push(IoSlice::new(head));
    }
    slices.extend(
        frame
            .payload
            .iter()
            .filter(|s| !s.is_empty())
            .map(|s| IoSlice::new(s)),
    );
    slices
}

/// Joins the payload of a frame that has more slices than a call takes: the one case that copies.
pub(crate) fn limit_slices(frame: &mut TxFrame) {
    if frame.payload.len() > IOV_MAX - 2 {
        let joined: Vec<u8> = frame
            .payload
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        frame.payload = SmallVec::from_iter([Bytes::from(joined)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stand_in_order_and_are_not_copies() {
        let payload = Bytes::from_static(b"payload");
        let mut frame = TxFrame::default();
        frame.head.prepend(4).copy_from_slice(b"head");
        frame
            .payload
            .extend([payload.clone(), Bytes::new(), Bytes::from_static(b"!")]);
        let vnet = [9; VNET_HEADER_BYTES];
        let slices = gather(Some(&vnet), &frame);
        assert_eq!(
            slices.iter().map(|s| s.len()).collect::<Vec<_>>(),
            [10, 4, 7, 1]
        );
        assert_eq!(slices[2].as_ptr(), payload.as_ptr());
        assert_eq!(gather(None, &frame).len(), 3);
    }

    #[test]
    fn a_frame_of_very_many_slices_still_fits_one_call() {
        let payload = (0..2000u32).map(|i| Bytes::from(vec![i as u8])).collect();
        let mut frame = TxFrame {
            payload,
            ..TxFrame::default()
        };
        let before = frame.to_vec();
        limit_slices(&mut frame);
        assert!(gather(None, &frame).len() <= IOV_MAX);
        assert_eq!(frame.to_vec(), before);
    }
}
