//! Is the digest a function of the output alone, and does it notice every difference?

use proptest::prelude::*;

use super::*;

/// A part of an output, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Generated(Vec<u8>),
    Static(u8, u64, u64),
}

impl Part {
    fn len(&self) -> u64 {
        self.piece().len()
    }

    fn piece(&self) -> Piece<'_> {
        match self {
            Self::Generated(bytes) => Piece::Generated(bytes),
            &Self::Static(identity, start, end) => {
                Piece::Static(Identity([identity; 32]), start..end)
            }
        }
    }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..60).prop_map(Part::Generated),
        (0u8..3, 0u64..1 << 33, 1u64..1 << 34).prop_map(|(identity, start, len)| Part::Static(
            identity,
            start,
            start + len
        )),
    ]
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec(part(), 1..12)
}

/// The digest of the output up to `until` (a number of bytes), cut at `cuts` (parts of 2^16).
fn digest(parts: &[Part], until: u64, cuts: &[u16]) -> OutputDigest {
    let mut digest = OutputDigest::default();
    let mut left = until;
    for part in parts {
        let mut piece = part.piece();
        let taken = piece.len().min(left);
        left -= taken;
        let mut piece = piece.split_to(taken);
        for &cut in cuts {
            let at = ((u128::from(piece.len()) * u128::from(cut)) >> 16) as u64;
            let first = piece.split_to(at);
            digest.absorb(first);
        }
        digest.absorb(piece);
    }
    digest
}

fn length(parts: &[Part]) -> u64 {
    parts.iter().map(Part::len).sum()
}

/// Neighbours of a kind joined: what two lists of parts have in common if they mean the same output.
fn canonical(parts: &[Part]) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Generated(before)), Part::Generated(bytes)) => before.extend(bytes),
            (Some(Part::Static(identity, _, end)), Part::Static(next, start, next_end))
                if identity == next && end == start =>
            {
                *end = *next_end;
            }
            _ => joined.push(part.clone()),
        }
    }
    joined
}

proptest! {
    #[test]
    fn the_partition_of_the_output_does_not_matter_at_any_offset(
        parts in parts(), part_of in 0u16..=u16::MAX, one: Vec<u16>, other: Vec<u16>,
    ) {
        let until = ((u128::from(length(&parts)) * u128::from(part_of)) >> 16) as u64;
        let (one, other) = (digest(&parts, until, &one), digest(&parts, until, &other));
        prop_assert_eq!(one.mark(), other.mark());
        prop_assert_eq!(one, other, "the state is the same too, so that both go on alike");
        prop_assert_eq!(one.position, 1 + until);
    }

    #[test]
    fn other_output_has_another_digest(one in parts(), other in parts()) {
        prop_assume!(canonical(&one) != canonical(&other));
        let whole = |parts: &[Part]| digest(parts, length(parts), &[]).mark();
        prop_assert_ne!(whole(&one), whole(&other));
    }

    #[test]
    fn a_changed_byte_range_or_identity_is_noticed(
        mut parts in parts(), which: prop::sample::Index, byte: prop::sample::Index, change in 1u8..,
    ) {
        let before = digest(&parts, length(&parts), &[]).mark();
        match which.get_mut(&mut parts) {
            Part::Generated(bytes) => *byte.get_mut(bytes) ^= change,
            // The length stays.
            Part::Static(identity, start, end) => match change % 2 {
                0 => *identity ^= change,
                _ => (*start, *end) = (*start + u64::from(change), *end + u64::from(change)),
            },
        }
        prop_assert_ne!(digest(&parts, length(&parts), &[]).mark(), before);
    }

    #[test]
    fn an_equal_output_agrees_with_every_sample_and_another_is_found_at_the_first(
        parts in parts(), acknowledged in prop::collection::vec(any::<u16>(), 1..9), lag in 0u64..600_000, change: prop::sample::Index,
    ) {
        // One puts out and tells samples of what its peer has.
        let mut one = Comparison::default();
        let mut samples = Vec::new();
        for (part, lag_of) in parts.iter().zip(acknowledged.iter().cycle()) {
            one.put_out(part.piece()).expect("nothing to compare with");
            let una = one.digest().position.saturating_sub(lag + u64::from(*lag_of));
            samples.extend(one.acknowledged(una));
        }
        samples.push(one.digest().mark());
        let repeat = |parts: &[Part]| {
            let mut other = Comparison::default();
            for sample in &samples {
                other.expect(*sample)?;
            }
            parts.iter().try_for_each(|part| other.put_out(part.piece()))
        };
        prop_assert_eq!(repeat(&parts), Ok(()));
        let mut changed = parts.clone();
        match change.get_mut(&mut changed) {
            Part::Generated(bytes) => bytes[0] ^= 1,
            Part::Static(identity, ..) => *identity ^= 1,
        }
        prop_assert!(repeat(&changed).is_err());
    }
}

#[test]
fn one_that_is_ahead_compares_where_both_take_samples() {
    let film = |byte| Piece::Static(Identity([byte; 32]), 0..10 << 20);
    let (mut owner, mut ahead, mut wrong) = <(Comparison, Comparison, Comparison)>::default();
    owner.put_out(film(1)).expect("alone");
    ahead.put_out(film(1)).expect("alone");
    wrong.put_out(film(2)).expect("alone");
    let mut compared = 0;
    for una in (0..10 << 20).step_by(100_000) {
        if let Some(sample) = owner.acknowledged(una) {
            assert_eq!(ahead.expect(sample), Ok(()));
            assert!(wrong.expect(sample).is_err());
            compared += 1;
        }
    }
    assert!(compared > 20);
}

#[test]
fn a_terabyte_costs_as_much_as_a_byte() {
    let mut comparison = Comparison::default();
    let long = Piece::Static(Identity([1; 32]), 0..1 << 40);
    comparison.put_out(long).expect("nothing to compare with");
    assert_eq!(comparison.digest().position, 1 + (1 << 40));
    assert!(comparison.marks.len() <= MOST_MARKS);
}
