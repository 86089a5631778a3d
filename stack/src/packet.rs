//! Scatter/gather packets: a header block that the stack builds, in front of untouched payload slices.
//!
//! A packet on its way down is a [`TxFrame`] from the start: `[Data]`, `[TCP|Data]`, `[IP|TCP|Data]`,
//! `[Ethernet|IP|TCP|Data]`. Each layer only calls `head.prepend`; the slices become `iovec`s at the
//! driver and nowhere else.
//!
//! Offsets in [`Checksum::Partial`] and [`Segmentation::header_len`] count from the current front of the
//! packet, so every layer that prepends a header shifts them with [`grow`].

pub use outlive_driver::{
    Checksum, PartialChecksum, RxChecksum, RxFrame, Segmentation, SegmentationKind, TxFrame,
};

/// Puts `length` bytes in front of everything and returns them; offload offsets move along.
pub fn grow(frame: &mut TxFrame, length: usize) -> &mut [u8] {
    let by = length as u16;
    if let Checksum::Partial(partial) = &mut frame.checksum {
        partial.start += by;
    }
    if let Some(segmentation) = &mut frame.segmentation {
        segmentation.header_len += by;
    }
    frame.head.prepend(length)
}

/// What is known about a transport checksum once `stripped` bytes of outer headers are off.
#[must_use]
pub fn strip_checksum(checksum: RxChecksum, stripped: usize) -> RxChecksum {
    match checksum {
        RxChecksum::Partial(partial) => match partial.start.checked_sub(stripped as u16) {
            Some(start) => RxChecksum::Partial(PartialChecksum { start, ..partial }),
            None => RxChecksum::Unknown,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offload_offsets_follow_the_headers() {
        let mut frame = TxFrame {
            checksum: Checksum::Partial(PartialChecksum {
                start: 0,
                offset: 16,
            }),
            ..TxFrame::default()
        };
        grow(&mut frame, 20);
        grow(&mut frame, 14);
        let expected = PartialChecksum {
            start: 34,
            offset: 16,
        };
        assert_eq!(frame.checksum, Checksum::Partial(expected));
        assert_eq!(
            strip_checksum(RxChecksum::Partial(expected), 34),
            RxChecksum::Partial(PartialChecksum {
                start: 0,
                offset: 16
            })
        );
        assert_eq!(
            strip_checksum(RxChecksum::Partial(expected), 35),
            RxChecksum::Unknown
        );
    }
}
