//! Every loop against the definition, written as plainly as RFC 1071 §4.1 has it.

use super::*;
use crate::Random;
use proptest::prelude::*;

fn definition(data: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in data.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        if sum > 0xffff {
            sum = (sum & 0xffff) + 1;
        }
    }
    sum as u16
}

fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::from_seed(seed);
    (0..len).map(|_| random.next_u32() as u8).collect()
}

/// Every loop that exists on this machine.
fn assert_all_agree(data: &[u8]) {
    let expected = definition(data);
    let native = |sum: u64| u16::from_be(fold(sum));
    assert_eq!(sum(data), expected, "chosen, {} bytes", data.len());
    assert_eq!(native(portable::words(data)), expected, "words");
    assert_eq!(native(portable::lanes(data)), expected, "lanes");
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = avx2::sum(data) {
        assert_eq!(native(sum), expected, "AVX2");
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(sum) = neon::sum(data) {
        assert_eq!(native(sum), expected, "NEON");
    }
}

#[test]
fn every_length_at_every_alignment() {
    let bytes = random_bytes(1, 32 + 300);
    let ones = [0xff; 32 + 300];
    for offset in 0..32 {
        for len in 0..=300 {
            assert_all_agree(&bytes[offset..offset + len]);
            assert_all_agree(&ones[offset..offset + len]);
        }
    }
}

#[test]
fn large_ranges_do_not_overflow() {
    assert_all_agree(&random_bytes(2, 65_535));
    assert_all_agree(&vec![0xff; 65_535]);
    assert_all_agree(&vec![0xff; 1 << 22]);
}

#[test]
fn zeros_sum_to_plus_zero_and_nothing_else_does() {
    assert_eq!(sum(&[0; 100]), 0);
    assert_eq!(sum(&[0xff; 100]), 0xffff);
    assert_eq!(sum(&[0, 1, 0xff, 0xfe]), 0xffff);
}

#[test]
fn the_example_of_rfc_1071() {
    let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(sum(&data), 0xddf2);
    assert_eq!(checksum(&data), !0xddf2);
}

#[test]
fn pseudo_headers_equal_their_bytes() {
    let mut v4 = vec![192, 168, 7, 9, 10, 200, 255, 1, 0, 6];
    v4.extend(1480_u16.to_be_bytes());
    let (a, b) = ([192, 168, 7, 9], [10, 200, 255, 1]);
    assert_eq!(pseudo_header(a.into(), b.into(), 6, 1480), definition(&v4));

    let (a, b) = (random_bytes(3, 16), random_bytes(4, 16));
    let mut v6 = [a.clone(), b.clone()].concat();
    v6.extend(70_000_u32.to_be_bytes());
    v6.extend([0, 0, 0, 17]);
    let address = |bytes: Vec<u8>| IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap());
    assert_eq!(
        pseudo_header(address(a), address(b), 17, 70_000),
        definition(&v6)
    );
}

proptest! {
    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..5000)) {
        assert_all_agree(&data);
    }

    #[test]
    fn slices_sum_like_the_whole(parts in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..90), 0..8,
    )) {
        let whole = parts.concat();
        prop_assert_eq!(sum_slices(parts.iter().map(Vec::as_slice)), definition(&whole));
    }

    #[test]
    fn an_update_equals_summing_again(
        mut data in proptest::collection::vec(any::<u8>(), 4..80), at: prop::sample::Index, new: u16,
    ) {
        let at = at.index(data.len() / 2) * 2;
        prop_assume!(data.len() >= at + 2);
        // A header is never all zero, so its sum is never the other zero (RFC 1624 §3).
        data[0] |= 1;
        prop_assume!(at >= 2);
        let old_checksum = checksum(&data);
        let old = u16::from_be_bytes([data[at], data[at + 1]]);
        data[at..at + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(update(old_checksum, old, new), checksum(&data));
    }
}
