//! Transport checksums, for devices that leave them to us.

use crate::checksum;
use crate::packet::{Checksum, TxFrame};

/// Fills in the checksum that `frame` leaves to whoever comes next, if any.
pub fn complete_checksum(frame: &mut TxFrame) {
    let Checksum::Partial(partial) = std::mem::take(&mut frame.checksum) else {
        return;
    };
    let start = usize::from(partial.start);
    let TxFrame { head, payload, .. } = frame;
    let Some(covered) = head.as_mut_slice().get_mut(start..) else {
        return;
    };
    let slices = payload.iter().map(|slice| &slice[..]);
    let checksum = partial.field(checksum::sum_slices(
        std::iter::once(&*covered).chain(slices),
    ));
    let at = usize::from(partial.offset);
    if let Some(field) = covered.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}
