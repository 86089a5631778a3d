//! The Internet checksum (RFC 1071), small and portable: for captures, cut segments and tests. The
//! stack's own, with SIMD, is on the data path; this crate uses nothing of the stack's.

use crate::frame::PartialChecksum;

/// Ones-complement sum of big-endian 16-bit words, folded, not inverted; an odd last byte is padded.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    // Sums are the same in either byte order but for a swap of the result (RFC 1071 §2 B), and 32-bit
    // words fold to the same as 16-bit ones (§2 C), which leaves the compiler lanes to use.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(total))
}

/// The ones-complement sum of two sums.
pub(crate) fn add(a: u16, b: u16) -> u16 {
    fold(u64::from(a) + u64::from(b))
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Completes a checksum that was left to the device. What does not fit the bytes is left as it is.
pub(crate) fn complete(bytes: &mut [u8], partial: PartialChecksum) {
    let start = usize::from(partial.start);
    let field = start + usize::from(partial.offset);
    if field + 2 > bytes.len() {
        return;
    }
    // The field holds the pseudo-header sum and takes part.
    let checksum = !sum(&bytes[start..]);
    // UDP: zero would mean that there is none (RFC 768). TCP never gives zero here, since its
    // pseudo-header is not zero; ones-complement zero is the same number in both.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_definition(bytes: &[u8]) -> u16 {
        let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        bytes.chunks(2).fold(0, |sum: u16, pair| {
            let (sum, carry) = sum.overflowing_add(word(pair));
            sum + u16::from(carry)
        })
    }

    proptest! {
        #[test]
        fn equals_the_definition(bytes: Vec<u8>) {
            prop_assert_eq!(sum(&bytes), by_definition(&bytes));
        }
    }
}
