//! The Internet checksum (RFC 1071), its incremental update (RFC 1624) and pseudo-headers
//! (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1).
//!
//! A *sum* here is the ones-complement sum of big-endian 16-bit words, folded to 16 bits and not
//! inverted; a *checksum* is its inverse, as it stands in a header. Inside, words are summed in the
//! machine's own byte order, which gives the same sum with its bytes swapped (RFC 1071 §2(B)).
//!
//! The kernel of the loop is compiled for the vector unit of the machine and chosen at run time; short
//! ranges, where calling it would cost more than it saves, are always summed by the portable loop.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

/// Below this many bytes a vector loop has nothing to gain.
const SHORT_BYTES: usize = 64;

/// The sum of `data`; an odd last byte is padded with a zero byte behind it.
#[must_use]
pub fn sum(data: &[u8]) -> u16 {
    u16::from_be(fold(sum_native(data)))
}

/// The sum of two parts of one range. `b_at_odd_offset` says that the second begins at an odd distance
/// from the start of the first, which swaps the bytes of its words.
#[must_use]
pub const fn combine(a: u16, b: u16, b_at_odd_offset: bool) -> u16 {
    let b = if b_at_odd_offset { b.swap_bytes() } else { b };
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The checksum of `data`: zero if `data` already contains its correct checksum.
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    !sum(data)
}

/// The sum of slices that lie one behind the other, of any lengths.
#[must_use]
pub fn sum_slices<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let (mut total, mut odd) = (0, false);
    for slice in slices {
        total = combine(total, sum(slice), odd);
        odd ^= slice.len() % 2 == 1;
    }
    total
}

/// The sum of the pseudo-header of a transport message of `len` bytes (transport header included).
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u16 {
    let len = len as u64;
    let numbers = u64::from(protocol) + (len >> 16) + (len & 0xffff);
    fold(address(source) + address(destination) + numbers)
}

/// The checksum after one 16-bit word that it covers changed (RFC 1624 equation 3).
#[must_use]
pub const fn update(old_checksum: u16, old_word: u16, new_word: u16) -> u16 {
    !combine(combine(!old_checksum, !old_word, false), new_word, false)
}

/// Unfolded sum of the words of an address, in network order.
fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => {
            let bits = u64::from(v4.to_bits());
            (bits >> 16) + (bits & 0xffff)
        }
        IpAddr::V6(v6) => v6.segments().iter().map(|&word| u64::from(word)).sum(),
    }
}

/// Unfolded sum in the machine's byte order, by the best loop this machine has.
fn sum_native(data: &[u8]) -> u64 {
    if data.len() < SHORT_BYTES {
        return portable::words(data);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = avx2::sum(data) {
        return sum;
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(sum) = neon::sum(data) {
        return sum;
    }
    portable::lanes(data)
}

/// Folds the carries of an unfolded sum back in.
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}
