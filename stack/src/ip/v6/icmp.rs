//! ICMP for IPv6 (RFC 4443): answers echoes, reports errors to senders, and hands errors about our own
//! datagrams to the transports.
//!
//! Left out: redirects are ignored, as are node information queries (RFC 4620).

use std::net::IpAddr;

use bytes::Bytes;

use super::headers::{End, Next, quoted_upper, walk};
use crate::checksum;
use crate::counters::Counter;
use crate::ip::{Cast, Datagram, Echo, ErrorKind, IcmpError, Ip, Outcome, TxDatagram};
use crate::packet::TxFrame;
use crate::time::Instant;
use crate::wire::icmpv6::{self, Message};
use crate::wire::ipv6::{self, HEADER_LEN, MIN_MTU, NEXT_ICMPV6};

/// Codes of Destination Unreachable in ICMP for IPv4, in whose words [`ErrorKind::Unreachable`] speaks:
/// net, host, and forbidden by an administrator.
const NET: u8 = 0;
const HOST: u8 = 1;
const FORBIDDEN: u8 = 13;

/// A report to a sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) message: Message,
    /// Even about what went to a group (RFC 4443 §2.4 (e.3)).
    pub(super) even_to_groups: bool,
}

/// An ICMPv6 message with its checksum, as a datagram.
pub(in crate::ip) fn message(
    ip: &Ip,
    (source, destination): (IpAddr, IpAddr),
    message: &Message,
    data: Bytes,
) -> TxDatagram {
    let mut frame = TxFrame::default();
    let header = frame.head.prepend(icmpv6::HEADER_LEN);
    message.emit(header);
    let len = header.len() + data.len();
    let pseudo = checksum::pseudo_header(source, destination, NEXT_ICMPV6, len);
    let sum = checksum::combine(pseudo, checksum::sum_slices([&*header, &data]), false);
    header[icmpv6::CHECKSUM_OFFSET..][..2].copy_from_slice(&(!sum).to_be_bytes());
    if !data.is_empty() {
        frame.payload.push(data);
    }
    TxDatagram {
        frame,
        source,
        destination,
        protocol: NEXT_ICMPV6,
        tos: 0,
        ttl: ip.config.ttl,
        may_fragment: true,
        options: None,
    }
}

/// Takes one ICMPv6 message.
pub(super) fn receive(ip: &Ip, now: Instant, datagram: &Datagram, outcome: &mut Outcome) {
    let payload = &datagram.payload;
    let malformed = || {
        ip.counters
            .drop_packet(Counter::IcmpDropMalformed, datagram);
    };
    if !datagram.checksum_ok && !checksum_is_right(datagram) {
        return malformed();
    }
    let Ok(parsed) = icmpv6::parse(payload) else {
        return malformed();
    };
    let ignored = || ip.counters.drop_packet(Counter::IcmpDropIgnored, datagram);
    match parsed {
        Message::EchoRequest {
            identifier,
            sequence,
        } => {
            let reply = Message::EchoReply {
                identifier,
                sequence,
            };
            match echo_reply(ip, now, datagram, &reply) {
                Some(reply) => outcome.replies.push(reply),
                None => ignored(),
            }
        }
        Message::EchoReply {
            identifier,
            sequence,
        } => outcome.echoes.push(Echo {
            source: datagram.source,
            identifier,
            sequence,
            data: payload.slice(icmpv6::HEADER_LEN..),
        }),
        Message::Other { .. } => ignored(),
        _ => match error(ip, &parsed, datagram) {
            Some(error) => outcome.errors.push(error),
            None => ignored(),
        },
    }
}

/// Echoes to groups are answered too (RFC 4443 §4.2), but not faster than errors.
fn echo_reply(ip: &Ip, now: Instant, request: &Datagram, reply: &Message) -> Option<TxDatagram> {
    if !ip.config.answer_echo {
        return None;
    }
    let source = if request.cast == Cast::Unicast {
        request.destination
    } else if ip.allow_icmp(now, request.source) {
        ip.path(request.source, None).ok()?.source
    } else {
        ip.counters.count(Counter::IcmpLimited);
        return None;
    };
    let data = request.payload.slice(icmpv6::HEADER_LEN..);
    let mut reply = message(ip, (source, request.source), reply, data);
    reply.tos = request.tos;
    Some(reply)
}

fn checksum_is_right(datagram: &Datagram) -> bool {
    let (source, destination) = (datagram.source, datagram.destination);
    let len = datagram.payload.len();
    let pseudo = checksum::pseudo_header(source, destination, NEXT_ICMPV6, len);
    checksum::combine(pseudo, checksum::sum(&datagram.payload), false) == 0xffff
}

/// What an error message says about a datagram of ours; none if it was not ours or cannot be told.
fn error(ip: &Ip, message: &Message, datagram: &Datagram) -> Option<IcmpError> {
    let quote = datagram.payload.slice(icmpv6::HEADER_LEN..);
    let header = ipv6::parse_quoted(&quote).ok()?;
    let (protocol, at) = quoted_upper(&quote)?;
    let quoted = quote.slice(at..);
    let ours = ip.is_local(header.source.into());
    if !ours || header.destination.is_multicast() || quoted.len() < 8 {
        return None;
    }
    let kind = match *message {
        Message::Unreachable { code } => match code {
            icmpv6::CODE_PORT => ErrorKind::PortUnreachable,
            icmpv6::CODE_NO_ROUTE => ErrorKind::Unreachable { code: NET },
            // Administratively prohibited, source address failed policy, reject route.
            1 | 5 | 6 => ErrorKind::Unreachable { code: FORBIDDEN },
            _ => ErrorKind::Unreachable { code: HOST },
        },
        Message::PacketTooBig { mtu } => ErrorKind::TooBig { mtu },
        Message::TimeExceeded { .. } => ErrorKind::TimeExceeded,
        Message::ParameterProblem {
            code: icmpv6::CODE_NEXT_HEADER,
            pointer,
        } if is_name_of_upper(&quote, pointer) => ErrorKind::ProtocolUnreachable,
        _ => ErrorKind::ParameterProblem,
    };
    Some(IcmpError {
        kind,
        reporter: datagram.source,
        source: header.source.into(),
        destination: header.destination.into(),
        protocol,
        quoted,
    })
}

/// True if `pointer` is the byte that names the transport of `quote`: then it is that which is not spoken
/// there.
fn is_name_of_upper(quote: &[u8], pointer: u32) -> bool {
    matches!(walk(quote, Next::first(quote)), Ok(End::Upper(next)) if next.named_at == pointer as usize)
}

/// See [`Ip::error_for`].
pub(in crate::ip) fn error_for(
    ip: &Ip,
    now: Instant,
    datagram: &Datagram,
    kind: ErrorKind,
) -> Option<TxDatagram> {
    let original = &datagram.original;
    let message = match kind {
        ErrorKind::Unreachable { code } => Message::Unreachable {
            code: if code == NET {
                icmpv6::CODE_NO_ROUTE
            } else {
                3
            },
        },
        ErrorKind::ProtocolUnreachable => {
            let Ok(End::Upper(next)) = walk(original, Next::first(original.get(..HEADER_LEN)?))
            else {
                return None;
            };
            Message::ParameterProblem {
                code: icmpv6::CODE_NEXT_HEADER,
                pointer: next.named_at as u32,
            }
        }
        ErrorKind::PortUnreachable => Message::Unreachable {
            code: icmpv6::CODE_PORT,
        },
        ErrorKind::TimeExceeded => Message::TimeExceeded {
            code: icmpv6::CODE_REASSEMBLY,
        },
        ErrorKind::ParameterProblem => Message::ParameterProblem {
            code: icmpv6::CODE_FIELD,
            pointer: 0,
        },
        // Hosts do not forward, so that nothing is too big for them.
        ErrorKind::TooBig { .. } | ErrorKind::SourceQuench => return None,
    };
    let report = Report {
        message,
        even_to_groups: false,
    };
    self::report(ip, now, original, datagram.cast, report)
}

/// The datagram that tells the sender of `original`, if anything may be told (RFC 4443 §2.4 (e)) and the
/// rate limit allows it (§2.4 (f)).
pub(super) fn report(
    ip: &Ip,
    now: Instant,
    original: &Bytes,
    cast: Cast,
    report: Report,
) -> Option<TxDatagram> {
    let header = ipv6::parse_quoted(original).ok()?;
    let one_host = !header.source.is_unspecified() && !header.source.is_multicast();
    let to_one = cast == Cast::Unicast || report.even_to_groups;
    if !one_host || !to_one || is_about_an_error(original) {
        return None;
    }
    let peer = IpAddr::V6(header.source);
    if !ip.allow_icmp(now, peer) {
        ip.counters.count(Counter::IcmpLimited);
        return None;
    }
    let destination = IpAddr::V6(header.destination);
    let source = if ip.is_local(destination) {
        destination
    } else {
        ip.path(peer, None).ok()?.source
    };
    // As much as fits the smallest link (§2.4 (c)).
    let room = MIN_MTU - HEADER_LEN - icmpv6::HEADER_LEN;
    let quote = original.slice(..original.len().min(room));
    Some(message(ip, (source, peer), &report.message, quote))
}

fn is_about_an_error(original: &[u8]) -> bool {
    match quoted_upper(original) {
        Some((NEXT_ICMPV6, at)) => {
            icmpv6::parse(&original[at..]).map_or(true, |message| message.is_error())
        }
        Some(_) => false,
        // Headers that are cut short carry no ICMP yet; of a later fragment nobody can tell.
        None => matches!(
            walk(original, Next::first(original)),
            Ok(End::Fragment(fragment, _)) if fragment.next_header == NEXT_ICMPV6
        ),
    }
}
