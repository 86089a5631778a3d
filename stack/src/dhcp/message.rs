//! DHCP messages for IPv4 (RFC 2131 §2) and the options that a client needs (RFC 2132; classless routes: RFC 3442).
//!
//! Options may be split (RFC 3396) and may go on in the fields for a boot file and a server's name (§9.3).

use std::net::Ipv4Addr;

use smallvec::SmallVec;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::Malformed;
use crate::wire::ethernet::MacAddr;

/// Where a server listens.
pub const SERVER_PORT: u16 = 67;
/// Where a client listens.
pub const CLIENT_PORT: u16 = 68;
/// Shorter ones are padded: some relays drop them (RFC 1542 §2.1).
pub const MIN_LEN: usize = 300;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const HARDWARE_ETHERNET: u8 = 1;
const FLAG_BROADCAST: u16 = 0x8000;

/// Numbers of options (RFC 2132).
pub mod option {
    /// The network's mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Gateways, the preferred one first.
    pub const ROUTER: u8 = 3;
    /// Name servers.
    pub const NAME_SERVER: u8 = 6;
    /// The client's name.
    pub const HOST_NAME: u8 = 12;
    /// The address that the client would like.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Seconds.
    pub const LEASE_TIME: u8 = 51;
    /// Which other fields hold options.
    pub const OVERLOAD: u8 = 52;
    /// [`super::Kind`].
    pub const MESSAGE_TYPE: u8 = 53;
    /// The server that was chosen.
    pub const SERVER: u8 = 54;
    /// What the client would like to know.
    pub const PARAMETERS: u8 = 55;
    /// Largest message that the client takes.
    pub const MAX_MESSAGE: u8 = 57;
    /// Seconds until the client asks its server to go on.
    pub const RENEWAL_TIME: u8 = 58;
    /// Seconds until it asks every server.
    pub const REBINDING_TIME: u8 = 59;
    /// Who the client is.
    pub const CLIENT: u8 = 61;
    /// RFC 3442.
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub(super) const PAD: u8 = 0;
    pub(super) const END: u8 = 255;
}

/// What a message is about (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address for me?
    Discover = 1,
    /// I have one.
    Offer = 2,
    /// I would like that one.
    Request = 3,
    /// Somebody else uses it.
    Decline = 4,
    /// It is yours.
    Ack = 5,
    /// It is not.
    Nak = 6,
    /// I do not need it any more.
    Release = 7,
}

impl Kind {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            _ => return None,
        })
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    operation: u8,
    hardware: u8,
    hardware_len: u8,
    hops: u8,
    transaction: U32,
    seconds: U16,
    flags: U16,
    client: [u8; 4],
    yours: [u8; 4],
    next_server: [u8; 4],
    relay: [u8; 4],
    station: [u8; 16],
    server_name: [u8; 64],
    file: [u8; 128],
    cookie: [u8; 4],
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is about.
    pub kind: Kind,
    /// Names the exchange.
    pub transaction: u32,
    /// Since the client began to ask.
    pub seconds: u16,
    /// The answer has to come to everybody, because the client has no address yet.
    pub broadcast: bool,
    /// The client's address, if it answers there.
    pub client: Ipv4Addr,
    /// The client's station.
    pub station: MacAddr,
    /// Further options, in order.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Request {
    /// The message, at least [`MIN_LEN`] bytes of it.
    ///
    /// # Panics
    /// When an option is longer than 255 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut station = [0; 16];
        station[..6].copy_from_slice(&self.station.0);
        let raw = Raw {
            operation: BOOT_REQUEST,
            hardware: HARDWARE_ETHERNET,
            hardware_len: 6,
            hops: 0,
            transaction: self.transaction.into(),
            seconds: self.seconds.into(),
            flags: if self.broadcast { FLAG_BROADCAST } else { 0 }.into(),
            client: self.client.octets(),
            yours: [0; 4],
            next_server: [0; 4],
            relay: [0; 4],
            station,
            server_name: [0; 64],
            file: [0; 128],
            cookie: COOKIE,
        };
        let mut message = raw.as_bytes().to_vec();
        let mut put = |number: u8, value: &[u8]| {
            let len = u8::try_from(value.len()).expect("an option is short");
            message.extend_from_slice(&[number, len]);
            message.extend_from_slice(value);
        };
        put(option::MESSAGE_TYPE, &[self.kind as u8]);
        for (number, value) in &self.options {
            put(*number, value);
        }
        message.push(option::END);
        message.resize(message.len().max(MIN_LEN), option::PAD);
        message
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is about.
    pub kind: Kind,
    /// The exchange that it belongs to.
    pub transaction: u32,
    /// The address that is meant.
    pub yours: Ipv4Addr,
    /// For whom.
    pub station: MacAddr,
    options: SmallVec<[(u8, Vec<u8>); 12]>,
}

/// Reads what a server says.
///
/// # Errors
/// [`Malformed`] if it is cut short, is no reply to a station of Ethernet, has no cookie or does not say what
/// it is about.
pub fn parse(data: &[u8]) -> Result<Reply, Malformed> {
    let (raw, rest) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let ethernet = raw.hardware == HARDWARE_ETHERNET && raw.hardware_len == 6;
    if raw.operation != BOOT_REPLY || !ethernet || raw.cookie != COOKIE {
        return Err(Malformed::Value);
    }
    let mut options = SmallVec::new();
    read_options(rest, &mut options)?;
    match value_of(&options, option::OVERLOAD) {
        Some([which @ 1..=3]) => {
            let which = *which;
            if which & 1 != 0 {
                read_options(&raw.file, &mut options)?;
            }
            if which & 2 != 0 {
                read_options(&raw.server_name, &mut options)?;
            }
        }
        Some(_) => return Err(Malformed::Value),
        None => {}
    }
    let kind = match value_of(&options, option::MESSAGE_TYPE) {
        Some(&[number]) => Kind::from_number(number).ok_or(Malformed::Value)?,
        _ => return Err(Malformed::Value),
    };
    let mut station = [0; 6];
    station.copy_from_slice(&raw.station[..6]);
    Ok(Reply {
        kind,
        transaction: raw.transaction.get(),
        yours: raw.yours.into(),
        station: MacAddr(station),
        options,
    })
}

fn read_options(
    mut data: &[u8],
    options: &mut SmallVec<[(u8, Vec<u8>); 12]>,
) -> Result<(), Malformed> {
    while let Some((&number, rest)) = data.split_first() {
        match number {
            option::PAD => data = rest,
            option::END => break,
            _ => {
                let (&len, rest) = rest.split_first().ok_or(Malformed::Truncated)?;
                let value = rest.get(..usize::from(len)).ok_or(Malformed::Truncated)?;
                data = &rest[usize::from(len)..];
                // A second part of the same option goes on where the first ended (RFC 3396 §7).
                match options.iter_mut().find(|known| known.0 == number) {
                    Some((_, known)) => known.extend_from_slice(value),
                    None => options.push((number, value.to_vec())),
                }
            }
        }
    }
    Ok(())
}

fn value_of(options: &[(u8, Vec<u8>)], number: u8) -> Option<&[u8]> {
    let (_, value) = options.iter().find(|known| known.0 == number)?;
    Some(value)
}

impl Reply {
    /// The value of an option.
    #[must_use]
    pub fn option(&self, number: u8) -> Option<&[u8]> {
        value_of(&self.options, number)
    }

    /// An option that holds addresses; an incomplete last one is left out.
    pub fn addresses(&self, number: u8) -> impl Iterator<Item = Ipv4Addr> {
        let value = self.option(number).unwrap_or_default();
        value.as_chunks::<4>().0.iter().map(|&it| it.into())
    }

    /// An option that holds a number of seconds.
    #[must_use]
    pub fn seconds(&self, number: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.option(number)?.try_into().ok()?))
    }

    /// Networks with the length of their prefix, and the router to each; 0.0.0.0 if it is on the link (RFC 3442).
    /// None if there is no such option, or if it makes no sense.
    #[must_use]
    pub fn classless_routes(&self) -> Option<Vec<(Ipv4Addr, u8, Ipv4Addr)>> {
        let mut value = self.option(option::CLASSLESS_ROUTES)?;
        let mut routes = Vec::new();
        while let Some((&prefix_len, rest)) = value.split_first() {
            let significant = usize::from(prefix_len).div_ceil(8);
            if prefix_len > 32 || rest.len() < significant + 4 {
                return None;
            }
            let (network, rest) = rest.split_at(significant);
            let (router, rest) = rest.split_first_chunk::<4>()?;
            let mut octets = [0; 4];
            octets[..significant].copy_from_slice(network);
            routes.push((octets.into(), prefix_len, (*router).into()));
            value = rest;
        }
        Some(routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply with these bytes of options.
    fn reply(options: &[u8], file: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 236];
        message[..4].copy_from_slice(&[BOOT_REPLY, HARDWARE_ETHERNET, 6, 0]);
        message[4..8].copy_from_slice(&[1, 2, 3, 4]);
        message[16..20].copy_from_slice(&[10, 0, 0, 7]);
        message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        message[108..][..file.len()].copy_from_slice(file);
        message.extend_from_slice(&COOKIE);
        message.extend_from_slice(options);
        message
    }

    #[test]
    fn a_request_has_its_fields_where_the_rfc_has_them() {
        let request = Request {
            kind: Kind::Discover,
            transaction: 0x0102_0304,
            seconds: 5,
            broadcast: true,
            client: Ipv4Addr::UNSPECIFIED,
            station: MacAddr([2, 0, 0, 0, 0, 1]),
            options: vec![(option::HOST_NAME, b"film".to_vec())],
        };
        let message = request.to_bytes();
        assert_eq!(message[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 5, 0x80, 0]);
        assert_eq!(message[28..34], [2, 0, 0, 0, 0, 1]);
        assert_eq!(message[236..243], [99, 130, 83, 99, 53, 1, 1]);
        assert_eq!(message[243..250], *b"\x0c\x04film\xff");
        assert_eq!(message.len(), MIN_LEN);
    }

    #[test]
    fn a_reply_is_read_with_its_options_wherever_they_stand() {
        // The address of the server is split, and goes on in the field for a file.
        let options = [52, 1, 1, 53, 1, 2, 54, 2, 10, 0, 255];
        let reply = parse(&reply(&options, &[54, 2, 0, 1, 255])).expect("a reply");
        assert_eq!((reply.kind, reply.transaction), (Kind::Offer, 0x0102_0304));
        assert_eq!(reply.yours, Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!(reply.station, MacAddr([2, 0, 0, 0, 0, 1]));
        let servers: Vec<_> = reply.addresses(option::SERVER).collect();
        assert_eq!(servers, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(reply.seconds(option::LEASE_TIME), None);
    }

    #[test]
    fn classless_routes_have_as_many_bytes_as_they_need() {
        let mut options = vec![53, 1, 5, 121, 14];
        options.extend_from_slice(&[0, 10, 0, 0, 1, 24, 192, 0, 2, 10, 0, 0, 2, 255]);
        // The last byte is the end of the option; the length above counts one route of 5 and one of 8.
        options[4] = 13;
        let read = parse(&reply(&options, &[]))
            .expect("a reply")
            .classless_routes();
        let router = |last| Ipv4Addr::new(10, 0, 0, last);
        let routes = vec![
            (Ipv4Addr::UNSPECIFIED, 0, router(1)),
            (Ipv4Addr::new(192, 0, 2, 0), 24, router(2)),
        ];
        assert_eq!(read, Some(routes));
        let long = [53, 1, 5, 121, 5, 33, 1, 2, 3, 4, 255];
        assert_eq!(parse(&reply(&long, &[])).unwrap().classless_routes(), None);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = reply(&[53, 1, 5, 255], &[]);
        assert!(parse(&good).is_ok());
        for len in 0..good.len() - 1 {
            assert!(parse(&good[..len]).is_err(), "{len}");
        }
        for (at, byte) in [(0, 1), (1, 9), (2, 8), (236, 0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(parse(&bad).is_err(), "byte {at}");
        }
        assert!(parse(&reply(&[53, 1, 99, 255], &[])).is_err());
        assert!(parse(&reply(&[53, 9, 5], &[])).is_err());
        assert!(parse(&reply(&[52, 1, 7, 53, 1, 5, 255], &[])).is_err());
    }
}
