//! Which of our addresses a datagram comes from (RFC 6724 §5), and how far addresses reach (§3.1).
//!
//! Left out: rules 4, 5 and 7, which are about home addresses, several interfaces and temporary addresses;
//! nothing here has any of them.

use std::cmp::Ordering;
use std::net::Ipv6Addr;

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ip) struct Candidate {
    pub(in crate::ip) address: Ipv6Addr,
    /// Bits of its network.
    pub(in crate::ip) prefix_len: u8,
    /// Its preferred lifetime is over (RFC 4862 §5.5.4).
    pub(in crate::ip) deprecated: bool,
}

/// The default policy table (RFC 6724 §2.1): prefix, its length, label.
const LABELS: [(Ipv6Addr, u32, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 1),
];

const LINK_LOCAL: u8 = 2;
const SITE_LOCAL: u8 = 5;
const GLOBAL: u8 = 14;

/// How far an address reaches, as groups have it in their fourth digit.
fn scope(address: Ipv6Addr) -> u8 {
    if address.is_multicast() {
        address.octets()[1] & 0x0f
    } else if address.is_unicast_link_local() || address.is_loopback() {
        LINK_LOCAL
    } else if common_bits(address, Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0)) >= 10 {
        SITE_LOCAL
    } else {
        GLOBAL
    }
}

fn label(address: Ipv6Addr) -> u8 {
    let found = LABELS
        .iter()
        .find(|(prefix, len, _)| common_bits(address, *prefix) >= *len);
    found.map_or(1, |&(.., label)| label)
}

/// Leading bits that are the same (RFC 6724 §2.2).
const fn common_bits(a: Ipv6Addr, b: Ipv6Addr) -> u32 {
    (a.to_bits() ^ b.to_bits()).leading_zeros()
}

/// The best of `candidates` to speak to `destination` with; the first of equals.
pub(in crate::ip) fn select(
    destination: Ipv6Addr,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Option<Ipv6Addr> {
    candidates
        .into_iter()
        .reduce(|best, next| match compare(destination, &next, &best) {
            Ordering::Greater => next,
            _ => best,
        })
        .map(|best| best.address)
}

/// Rules 1, 2, 3, 6 and 8, in that order.
fn compare(destination: Ipv6Addr, a: &Candidate, b: &Candidate) -> Ordering {
    let reach = scope(destination);
    let (scope_a, scope_b) = (scope(a.address), scope(b.address));
    let by_scope = match scope_a.cmp(&scope_b) {
        Ordering::Equal => Ordering::Equal,
        // The smaller one, unless it does not reach.
        Ordering::Less if scope_a >= reach => Ordering::Greater,
        Ordering::Less => Ordering::Less,
        Ordering::Greater if scope_b >= reach => Ordering::Less,
        Ordering::Greater => Ordering::Greater,
    };
    let same = |it: &Candidate| it.address == destination;
    let labelled = |it: &Candidate| label(it.address) == label(destination);
    let common = |it: &Candidate| common_bits(it.address, destination).min(it.prefix_len.into());
    same(a)
        .cmp(&same(b))
        .then(by_scope)
        .then(b.deprecated.cmp(&a.deprecated))
        .then(labelled(a).cmp(&labelled(b)))
        .then(common(a).cmp(&common(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(destination: &str, ours: &[&str]) -> String {
        let candidates = ours.iter().map(|text| {
            let (text, deprecated) = match text.strip_prefix("old ") {
                Some(text) => (text, true),
                None => (*text, false),
            };
            Candidate {
                address: text.parse().unwrap(),
                prefix_len: 64,
                deprecated,
            }
        });
        select(destination.parse().unwrap(), candidates)
            .unwrap()
            .to_string()
    }

    /// RFC 6724 §10.1, as far as it is about what this host can have.
    #[test]
    fn the_examples_of_the_rfc() {
        let table: [(&str, &[&str], &str); 6] = [
            (
                "2001:db8:1::1",
                &["2001:db8:3::1", "fe80::1"],
                "2001:db8:3::1",
            ),
            ("ff05::1", &["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
            (
                "2001:db8:1::1",
                &["old 2001:db8:1::1", "2001:db8:2::1"],
                "2001:db8:1::1",
            ),
            ("fe80::1", &["old fe80::2", "2001:db8:1::1"], "fe80::2"),
            (
                "2001:db8:1::1",
                &["2001:db8:1::2", "2001:db8:3::2"],
                "2001:db8:1::2",
            ),
            (
                "2002:c633:6401::1",
                &["2001:db8:1::2", "2002:c633:6401::d5e3"],
                "2002:c633:6401::d5e3",
            ),
        ];
        for (destination, ours, expected) in table {
            assert_eq!(
                chosen(destination, ours),
                expected,
                "{destination} {ours:?}"
            );
            let backwards: Vec<_> = ours.iter().rev().copied().collect();
            assert_eq!(
                chosen(destination, &backwards),
                expected,
                "{destination} {backwards:?}"
            );
        }
    }

    #[test]
    fn the_same_label_comes_before_the_longer_prefix() {
        assert_eq!(chosen("fd00:1::9", &["fec0::1", "fd77::1"]), "fd77::1");
        assert_eq!(chosen("2001:db8::9", &["fd00::1", "2a00::1"]), "2a00::1");
    }

    #[test]
    fn of_equals_the_first_is_taken() {
        assert_eq!(
            chosen("2001:db8:9::9", &["2001:db8:1::1", "2001:db8:1::2"]),
            "2001:db8:1::1"
        );
        assert_eq!(select("::1".parse().unwrap(), []), None);
    }
}
