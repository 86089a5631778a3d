//! Sequence numbers on the wire (RFC 9293 §3.4) and the 64-bit stream positions they stand for.
//!
//! Inside, every place in a stream is a `u64` that never wraps, so `<` means "before". A wire number
//! becomes a position by asking which position near a known one has it; the window never exceeds 2^30
//! (RFC 7323 §2.3), so that the nearest one is the one meant.

/// The sequence number of `position` in the stream whose SYN has number `base`.
#[must_use]
pub const fn wire(base: u32, position: u64) -> u32 {
    base.wrapping_add(position as u32)
}

/// The position nearest to `near` that has the sequence number `seq`; none if it would lie before the
/// SYN, which no honest segment of this connection has.
#[must_use]
pub const fn position(base: u32, seq: u32, near: u64) -> Option<u64> {
    let distance = seq.wrapping_sub(wire(base, near)) as i32;
    near.checked_add_signed(distance as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_survives_the_wire(base: u32, at in 0u64..1 << 40, off in -(1i64 << 31)..1 << 31) {
            let near = at.saturating_add_signed(off);
            // At exactly 2^31 two positions are equally near.
            prop_assume!(near.abs_diff(at) < 1 << 31);
            prop_assert_eq!(position(base, wire(base, at), near), Some(at));
        }

        #[test]
        fn the_result_has_the_number_and_is_near(base: u32, seq: u32, near in 0u64..1 << 40) {
            match position(base, seq, near) {
                Some(found) => {
                    prop_assert_eq!(wire(base, found), seq);
                    prop_assert!(found.abs_diff(near) <= 1 << 31);
                }
                None => prop_assert!(near < 1 << 31),
            }
        }
    }

    #[test]
    fn before_the_syn_there_is_nothing() {
        assert_eq!(position(1000, 999, 0), None);
        assert_eq!(position(1000, 1000, 5), Some(0));
        assert_eq!(position(u32::MAX, 4, 0), Some(5));
    }
}
