//! IPv4 options that an echo reply has to return: Record Route and Timestamp, with this host entered
//! (RFC 1122 §3.2.2.6; RFC 791 §3.1).

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;

use crate::time::Instant;
use crate::wire::ipv4::{
    MAX_OPTIONS_LEN, OPTION_LOOSE_SOURCE_ROUTE, OPTION_NOP, OPTION_RECORD_ROUTE,
    OPTION_STRICT_SOURCE_ROUTE, OPTION_TIMESTAMP, is_copied, options,
};

/// What a list of options amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that matters to a receiver.
    Fine,
    /// A source route, which is not honoured (RFC 7126 §4.3).
    SourceRoute,
    /// A length that cannot be stepped over.
    Malformed,
}

pub(super) fn check(bytes: &[u8]) -> Verdict {
    for option in options(bytes) {
        match option {
            Err(_) => return Verdict::Malformed,
            Ok((OPTION_LOOSE_SOURCE_ROUTE | OPTION_STRICT_SOURCE_ROUTE, _)) => {
                return Verdict::SourceRoute;
            }
            Ok(_) => {}
        }
    }
    Verdict::Fine
}

/// The options of an echo reply to a request that came with `request` to our address `ours`.
pub(super) fn for_echo_reply(request: &[u8], ours: Ipv4Addr, now: Instant) -> Option<Box<[u8]>> {
    let mut reply = ArrayVec::<u8, MAX_OPTIONS_LEN>::new();
    for (kind, range) in options(request).flatten() {
        if !matches!(kind, OPTION_RECORD_ROUTE | OPTION_TIMESTAMP) {
            continue;
        }
        let start = reply.len();
        reply.extend(request[range].iter().copied());
        let option = &mut reply[start..];
        match kind {
            OPTION_RECORD_ROUTE => record_route(option, ours),
            _ => record_time(option, ours, now),
        }
    }
    (!reply.is_empty()).then(|| reply.as_slice().into())
}

/// Where the next entry of `len` bytes goes: the pointer counts from 1.
fn free_slot(option: &[u8], first: u8, len: usize) -> Option<usize> {
    let &pointer = option.get(2)?;
    let at = usize::from(pointer.checked_sub(1)?);
    (pointer >= first && at + len <= option.len()).then_some(at)
}

fn record_route(option: &mut [u8], ours: Ipv4Addr) {
    if let Some(at) = free_slot(option, 4, 4) {
        option[at..at + 4].copy_from_slice(&ours.octets());
        option[2] += 4;
    }
}

fn record_time(option: &mut [u8], ours: Ipv4Addr, now: Instant) {
    // Without a clock that knows midnight the high bit marks the time as our own (RFC 791 §3.1).
    let time = (now.as_millis() as u32 | 1 << 31).to_be_bytes();
    let Some(&overflow_flags) = option.get(3) else {
        return;
    };
    let (entry_len, with_address, prespecified) = match overflow_flags & 0x0f {
        0 => (4, false, false),
        1 => (8, true, false),
        3 => (8, true, true),
        _ => return,
    };
    let Some(at) = free_slot(option, 5, entry_len) else {
        // Full: counted in the upper four bits, which do not wrap.
        if !prespecified && overflow_flags >> 4 < 15 {
            option[3] += 0x10;
        }
        return;
    };
    if prespecified && option[at..at + 4] != ours.octets() {
        return;
    }
    if with_address {
        option[at..at + 4].copy_from_slice(&ours.octets());
    }
    option[at + entry_len - 4..at + entry_len].copy_from_slice(&time);
    option[2] += entry_len as u8;
}

/// The options of all fragments but the first: those with the copied flag (RFC 791 §3.1).
pub(super) fn for_later_fragments(bytes: &[u8]) -> ArrayVec<u8, MAX_OPTIONS_LEN> {
    let mut copied = ArrayVec::new();
    for (kind, range) in options(bytes).flatten() {
        if is_copied(kind) {
            copied.extend(bytes[range].iter().copied());
        }
    }
    while copied.len() % 4 != 0 {
        copied.push(OPTION_NOP);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const NOW: Instant = Instant::from_millis(0x0102_0304);

    #[test]
    fn a_record_route_gets_our_address() {
        let request = [1, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        let reply = for_echo_reply(&request, OURS, NOW).unwrap();
        assert_eq!(reply[..], [7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_full_record_route_is_returned_as_it_is() {
        let request = [7, 7, 8, 1, 2, 3, 4];
        assert_eq!(for_echo_reply(&request, OURS, NOW).unwrap()[..], request);
    }

    #[test]
    fn a_timestamp_gets_our_time_and_counts_overflow() {
        let request = [68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let reply = for_echo_reply(&request, OURS, NOW).unwrap();
        assert_eq!(reply[..], [68, 12, 13, 1, 10, 0, 0, 1, 0x81, 2, 3, 4]);
        let again = for_echo_reply(&reply, OURS, NOW).unwrap();
        assert_eq!(again[3], 0x11);
        let for_another = [68, 12, 5, 3, 10, 0, 0, 9, 0, 0, 0, 0];
        let reply = for_echo_reply(&for_another, OURS, NOW).unwrap();
        assert_eq!(reply[..], for_another);
    }

    #[test]
    fn other_options_are_not_returned() {
        assert_eq!(for_echo_reply(&[148, 4, 0, 0], OURS, NOW), None);
    }

    #[test]
    fn source_routes_and_nonsense_are_recognised() {
        assert_eq!(check(&[1, 131, 3, 4]), Verdict::SourceRoute);
        assert_eq!(check(&[137, 3, 4, 0]), Verdict::SourceRoute);
        assert_eq!(check(&[148, 4, 0, 0]), Verdict::Fine);
        assert_eq!(check(&[148, 1, 0, 0]), Verdict::Malformed);
        assert_eq!(check(&[148, 5, 0, 0]), Verdict::Malformed);
    }

    proptest! {
        #[test]
        fn arbitrary_options_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..=40)) {
            check(&bytes);
            let later = for_later_fragments(&bytes);
            prop_assert!(later.len() % 4 == 0 && later.len() <= bytes.len().next_multiple_of(4));
            if let Some(reply) = for_echo_reply(&bytes, OURS, NOW) {
                prop_assert!(reply.len() <= bytes.len());
            }
        }
    }
}
