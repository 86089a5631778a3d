//! Neighbour discovery (RFC 4861 §4): ICMPv6 messages with options, from the type on. Redirects are not
//! understood; options other than those below are stepped over.

use std::net::Ipv6Addr;

use arrayvec::ArrayVec;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;
use super::ethernet::MacAddr;

/// Type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of a neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Type of a redirect.
pub const REDIRECT: u8 = 137;
/// The hop limit of all of them: whoever is further away than a neighbour cannot send it (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;
/// Where the checksum stands.
pub const CHECKSUM_OFFSET: usize = 2;
/// Prefixes of one advertisement that are understood; others are stepped over.
pub const MAX_PREFIXES: usize = 8;

const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
const OPTION_PREFIX: u8 = 3;
const OPTION_MTU: u8 = 5;
/// Type, code, checksum and the four bytes behind them.
const FIXED_LEN: usize = 8;
const ADDRESS_LEN: usize = 16;
const STATION_OPTION_LEN: usize = 8;
const MTU_OPTION_LEN: usize = 8;
const PREFIX_OPTION_LEN: usize = 32;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// What routers say of themselves and of their link (RFC 4861 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// Hop limit for what hosts send; 0 says nothing.
    pub hop_limit: u8,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other things are to be had by DHCPv6.
    pub other: bool,
    /// How long this router is a default router; 0 if it is none.
    pub lifetime_s: u16,
    /// How long a confirmation that a neighbour is there is believed; 0 says nothing.
    pub reachable_ms: u32,
    /// Time between two solicitations; 0 says nothing.
    pub retransmit_ms: u32,
}

/// What a message wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Routers are to speak up.
    RouterSolicitation,
    /// A router speaks.
    RouterAdvertisement(Router),
    /// Who has the target?
    NeighbourSolicitation {
        /// The address asked for.
        target: Ipv6Addr,
    },
    /// Somebody has it.
    NeighbourAdvertisement {
        /// The address.
        target: Ipv6Addr,
        /// Its owner forwards.
        router: bool,
        /// It answers a question.
        solicited: bool,
        /// It replaces what was known.
        overrides: bool,
    },
}

/// A network of the link (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The network; bits behind its length mean nothing.
    pub prefix: Ipv6Addr,
    /// Bits of it.
    pub len: u8,
    /// Its hosts are neighbours.
    pub on_link: bool,
    /// Hosts may make addresses from it by themselves.
    pub autonomous: bool,
    /// How long; all ones for ever.
    pub valid_s: u32,
    /// How long for new connections.
    pub preferred_s: u32,
}

/// What stands behind a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Station of whoever sent it.
    pub source: Option<MacAddr>,
    /// Station of the target.
    pub target: Option<MacAddr>,
    /// MTU of the link.
    pub mtu: Option<u32>,
    /// Networks of the link.
    pub prefixes: ArrayVec<Prefix, MAX_PREFIXES>,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawPrefix {
    kind: u8,
    units: u8,
    len: u8,
    flags: u8,
    valid_s: U32,
    preferred_s: U32,
    reserved: [u8; 4],
    prefix: [u8; 16],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawRouter {
    hop_limit: u8,
    flags: u8,
    lifetime_s: U16,
    reachable_ms: U32,
    retransmit_ms: U32,
}

impl Message {
    const fn kind(&self) -> u8 {
        match self {
            Self::RouterSolicitation => ROUTER_SOLICITATION,
            Self::RouterAdvertisement(_) => ROUTER_ADVERTISEMENT,
            Self::NeighbourSolicitation { .. } => NEIGHBOUR_SOLICITATION,
            Self::NeighbourAdvertisement { .. } => NEIGHBOUR_ADVERTISEMENT,
        }
    }

    /// Bytes of the message without options.
    const fn len(&self) -> usize {
        match self {
            Self::RouterSolicitation => FIXED_LEN,
            Self::RouterAdvertisement(_) => FIXED_LEN + 8,
            _ => FIXED_LEN + ADDRESS_LEN,
        }
    }

    /// Bytes that [`Message::emit`] writes.
    #[must_use]
    pub fn emitted_len(&self, options: &Options) -> usize {
        self.len() + options.len()
    }

    /// Writes the message with `options` to `out`, its checksum field zero.
    ///
    /// # Panics
    /// When `out` is not exactly [`Message::emitted_len`] long.
    pub fn emit(&self, options: &Options, out: &mut [u8]) {
        assert_eq!(out.len(), self.emitted_len(options));
        let (fixed, rest) = out.split_at_mut(self.len());
        fixed.fill(0);
        fixed[0] = self.kind();
        match self {
            Self::RouterSolicitation => {}
            Self::RouterAdvertisement(router) => {
                let flag = |on: bool, flag| if on { flag } else { 0 };
                let raw = RawRouter {
                    hop_limit: router.hop_limit,
                    flags: flag(router.managed, MANAGED) | flag(router.other, OTHER),
                    lifetime_s: router.lifetime_s.into(),
                    reachable_ms: router.reachable_ms.into(),
                    retransmit_ms: router.retransmit_ms.into(),
                };
                fixed[4..].copy_from_slice(raw.as_bytes());
            }
            Self::NeighbourSolicitation { target } => {
                fixed[FIXED_LEN..].copy_from_slice(&target.octets());
            }
            Self::NeighbourAdvertisement {
                target,
                router,
                solicited,
                overrides,
            } => {
                let flags = [
                    (*router, ROUTER),
                    (*solicited, SOLICITED),
                    (*overrides, OVERRIDE),
                ];
                fixed[4] = flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
                fixed[FIXED_LEN..].copy_from_slice(&target.octets());
            }
        }
        options.emit(rest);
    }
}

impl Options {
    fn len(&self) -> usize {
        let stations = usize::from(self.source.is_some()) + usize::from(self.target.is_some());
        STATION_OPTION_LEN * stations
            + MTU_OPTION_LEN * usize::from(self.mtu.is_some())
            + PREFIX_OPTION_LEN * self.prefixes.len()
    }

    fn emit(&self, mut out: &mut [u8]) {
        let mut put = |bytes: &[u8]| {
            let (front, rest) = std::mem::take(&mut out).split_at_mut(bytes.len());
            front.copy_from_slice(bytes);
            out = rest;
        };
        for (kind, mac) in [(OPTION_SOURCE, self.source), (OPTION_TARGET, self.target)] {
            if let Some(MacAddr([a, b, c, d, e, f])) = mac {
                put(&[kind, 1, a, b, c, d, e, f]);
            }
        }
        if let Some(mtu) = self.mtu {
            let [a, b, c, d] = mtu.to_be_bytes();
            put(&[OPTION_MTU, 1, 0, 0, a, b, c, d]);
        }
        for prefix in &self.prefixes {
            let raw = RawPrefix {
                kind: OPTION_PREFIX,
                units: 4,
                len: prefix.len,
                flags: if prefix.on_link { ON_LINK } else { 0 }
                    | if prefix.autonomous { AUTONOMOUS } else { 0 },
                valid_s: prefix.valid_s.into(),
                preferred_s: prefix.preferred_s.into(),
                reserved: [0; 4],
                prefix: prefix.prefix.octets(),
            };
            put(raw.as_bytes());
        }
    }

    fn parse(mut data: &[u8]) -> Result<Self, Malformed> {
        let mut options = Self::default();
        while let [kind, units, ..] = *data {
            let len = usize::from(units) * 8;
            if len == 0 {
                // The whole message is to be discarded (RFC 4861 §4.6).
                return Err(Malformed::HeaderLength);
            }
            let option = data.get(..len).ok_or(Malformed::Truncated)?;
            let station = || option[2..].first_chunk().map(|bytes| MacAddr(*bytes));
            match kind {
                OPTION_SOURCE => options.source = station(),
                OPTION_TARGET => options.target = station(),
                OPTION_MTU => {
                    let bytes = option[4..].first_chunk();
                    options.mtu = bytes.map(|bytes| u32::from_be_bytes(*bytes));
                }
                OPTION_PREFIX => {
                    if let Ok((raw, _)) = RawPrefix::ref_from_prefix(option)
                        && raw.len <= 128
                    {
                        let _full = options.prefixes.try_push(Prefix::from(raw));
                    }
                }
                _ => {}
            }
            data = &data[len..];
        }
        if data.is_empty() {
            Ok(options)
        } else {
            Err(Malformed::Truncated)
        }
    }
}

impl From<&RawPrefix> for Prefix {
    fn from(raw: &RawPrefix) -> Self {
        Self {
            prefix: raw.prefix.into(),
            len: raw.len,
            on_link: raw.flags & ON_LINK != 0,
            autonomous: raw.flags & AUTONOMOUS != 0,
            valid_s: raw.valid_s.get(),
            preferred_s: raw.preferred_s.get(),
        }
    }
}

/// Reads the message that is all of `data`.
///
/// # Errors
/// [`Malformed`] if truncated, with a code other than 0, of another type, or with an option of no length.
pub fn parse(data: &[u8]) -> Result<(Message, Options), Malformed> {
    let &[kind, code, ..] = data else {
        return Err(Malformed::Truncated);
    };
    if code != 0 {
        return Err(Malformed::Value);
    }
    let target = || {
        let bytes: Option<&[u8; ADDRESS_LEN]> = data.get(FIXED_LEN..).and_then(<[u8]>::first_chunk);
        bytes
            .map(|bytes| Ipv6Addr::from(*bytes))
            .ok_or(Malformed::Truncated)
    };
    let message = match kind {
        ROUTER_SOLICITATION => Message::RouterSolicitation,
        ROUTER_ADVERTISEMENT => {
            let data = data.get(4..).ok_or(Malformed::Truncated)?;
            let (raw, _) = RawRouter::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
            Message::RouterAdvertisement(Router {
                hop_limit: raw.hop_limit,
                managed: raw.flags & MANAGED != 0,
                other: raw.flags & OTHER != 0,
                lifetime_s: raw.lifetime_s.get(),
                reachable_ms: raw.reachable_ms.get(),
                retransmit_ms: raw.retransmit_ms.get(),
            })
        }
        NEIGHBOUR_SOLICITATION => Message::NeighbourSolicitation { target: target()? },
        NEIGHBOUR_ADVERTISEMENT => {
            let target = target()?;
            Message::NeighbourAdvertisement {
                target,
                router: data[4] & ROUTER != 0,
                solicited: data[4] & SOLICITED != 0,
                overrides: data[4] & OVERRIDE != 0,
            }
        }
        _ => return Err(Malformed::Value),
    };
    let options = data.get(message.len()..).ok_or(Malformed::Truncated)?;
    Ok((message, Options::parse(options)?))
}
