//! Completes checksums that were left to a device, in bytes that lie in one piece: captures, frames cut
//! for a wire in memory.

use crate::checksum::sum;
use crate::frame::PartialChecksum;

/// Completes a checksum that was left to the device. What does not fit the bytes is left as it is.
pub(crate) fn complete(bytes: &mut [u8], partial: PartialChecksum) {
    let start = usize::from(partial.start);
    let field = start + usize::from(partial.offset);
    if field + 2 > bytes.len() {
        return;
    }
    // The field holds the pseudo-header sum and takes part.
    let checksum = partial.field(sum(&bytes[start..]));
    bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}
