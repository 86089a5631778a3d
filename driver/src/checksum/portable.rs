//! The loops themselves, in plain Rust; a compiler that is told of a vector unit turns [`lanes`] into
//! vector code that no intrinsics by hand surpassed when measured.

/// Bytes per turn of the wide loop.
const CHUNK_BYTES: usize = 128;
/// Independent accumulators, so that additions need not wait for each other.
const LANES: usize = CHUNK_BYTES / 4;

/// Unfolded sum in the machine's byte order, for short ranges.
pub(super) fn words(data: &[u8]) -> u64 {
    let (words, tail) = data.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|&word| u64::from(u32::from_ne_bytes(word)))
        .sum();
    let (halves, odd) = tail.as_chunks::<2>();
    for &half in halves {
        sum += u64::from(u16::from_ne_bytes(half));
    }
    if let &[last] = odd {
        sum += u64::from(u16::from_ne_bytes([last, 0]));
    }
    sum
}

/// Unfolded sum in the machine's byte order, for long ranges. A lane gains less than 2^32 per chunk, so
/// that 64 bits overflow after 2^32 chunks: more than any packet has.
#[inline(always)]
pub(super) fn lanes(data: &[u8]) -> u64 {
    let (chunks, tail) = data.as_chunks::<CHUNK_BYTES>();
    let mut lanes = [0_u64; LANES];
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<4>();
        for (lane, &word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(word));
        }
    }
    lanes.iter().sum::<u64>() + words(tail)
}
