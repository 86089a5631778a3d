//! Byte ranges (RFC 9110 §14.1.2, §14.2).

use std::ops::Range;

use http::{HeaderMap, header};

use super::request::decimal;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Everything: no field, another unit, or not a valid field, which is to be ignored.
    Whole,
    /// At least one range, none of them empty, in the order of the request.
    Parts(Vec<Range<u64>>),
    /// No range lies within the content, or there are more ranges than anybody needs: 416.
    Unsatisfiable,
}

/// Reads the `Range` field for content of `length` bytes. More than `most` ranges, or more than two that
/// overlap, are refused (RFC 9110 §14.2 allows it, §17.15 says why).
#[must_use]
pub fn select(headers: &HeaderMap, length: u64, most: usize) -> Selection {
    let mut fields = headers.get_all(header::RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Selection::Whole;
    };
    let Some(specs) = range_set(field.as_bytes()) else {
        return Selection::Whole;
    };
    let mut parts = Vec::new();
    for (number, spec) in specs
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .enumerate()
    {
        if number >= most {
            return Selection::Unsatisfiable;
        }
        match resolve(spec, length) {
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
            None => return Selection::Whole,
        }
    }
    if parts.is_empty() || overlaps(&parts) > 2 {
        return Selection::Unsatisfiable;
    }
    Selection::Parts(parts)
}

fn range_set(field: &[u8]) -> Option<&[u8]> {
    let (unit, set) = field.split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// An empty range for what cannot be satisfied, none for what is not a range.
fn resolve(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?.min(length);
        return Some(length - suffix..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1)
    };
    Some(first.min(length)..end.min(length))
}

/// A position may have more digits than 64 bits hold: it is then simply beyond every end.
fn number(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| decimal(digits).unwrap_or(u64::MAX))
}

/// How many pairs of ranges share a byte.
fn overlaps(parts: &[Range<u64>]) -> usize {
    let pairs = parts
        .iter()
        .enumerate()
        .flat_map(|(at, a)| parts[at + 1..].iter().map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a.start < b.end && b.start < a.end)
        .count()
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a list of one range is what is meant"
)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn selected(field: &str, length: u64) -> Selection {
        let value = HeaderValue::from_str(field).expect("a value");
        select(&HeaderMap::from_iter([(header::RANGE, value)]), length, 16)
    }

    fn parts(field: &str) -> Vec<Range<u64>> {
        match selected(field, 1000) {
            Selection::Parts(parts) => parts,
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(parts("bytes=0-499"), [0..500]);
        assert_eq!(parts("bytes=500-999"), [500..1000]);
        assert_eq!(parts("bytes=-500"), [500..1000]);
        assert_eq!(parts("bytes=950-"), [950..1000]);
        assert_eq!(parts("Bytes=0-0,-1"), [0..1, 999..1000]);
        assert_eq!(parts("bytes= 0-0 ,\t5-9"), [0..1, 5..10]);
        assert_eq!(parts("bytes=-2000"), [0..1000]);
        assert_eq!(parts("bytes=0-99999999999999999999999"), [0..1000]);
        assert_eq!(parts("bytes=0-1,1000-,5-6"), [0..2, 5..7]);
    }

    #[test]
    fn nothing_within_the_content_is_unsatisfiable() {
        for field in [
            "bytes=1000-",
            "bytes=-0",
            "bytes=99999999999999999999999-",
            "bytes=2000-3000, -0",
        ] {
            assert_eq!(selected(field, 1000), Selection::Unsatisfiable, "{field}");
        }
        assert_eq!(selected("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(selected("bytes=-5", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for field in [
            "bytes=5-4",
            "bytes=a-b",
            "bytes=",
            "bytes=1",
            "bytes=--1",
            "bytes=+1-2",
            "seconds=1-2",
            "bytes 1-2",
            "bytes=1-2,x",
        ] {
            assert_eq!(selected(field, 1000), Selection::Whole, "{field}");
        }
    }

    #[test]
    fn too_many_or_overlapping_ranges_are_refused() {
        let many = vec!["0-0"; 17].join(",");
        assert_eq!(
            selected(&format!("bytes={many}"), 1000),
            Selection::Unsatisfiable
        );
        assert_eq!(parts("bytes=0-10,5-15"), [0..11, 5..16]);
        assert_eq!(selected("bytes=0-,0-,0-", 1000), Selection::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn selected_bytes_exist(field in "bytes=[0-9,\\- ]{0,40}", length in 0u64..3000) {
            if let Selection::Parts(parts) = selected(&field, length) {
                prop_assert!(!parts.is_empty() && parts.len() <= 16);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
            }
        }
    }
}
