//! ICMP for IPv4 (RFC 792, RFC 1122 §3.2.2): answers echoes, reports errors to senders, and hands
//! errors about our own datagrams to the transports.
//!
//! Left out: redirects and source quench are ignored (RFC 6633), as are timestamp and mask requests.

use std::net::IpAddr;

use bytes::Bytes;

use super::host::Ip;
use super::options;
use super::path_mtu::plateau_below;
use super::v6;
use super::{Cast, Datagram, ErrorKind, IcmpError, Outcome, TxDatagram};
use crate::checksum;
use crate::counters::Counter;
use crate::packet::TxFrame;
use crate::time::Instant;
use crate::wire::icmpv4::{self, Message};
use crate::wire::{icmpv6, ipv4};

/// A datagram that quotes another stays within what every host reassembles (RFC 1812 §4.3.2.3).
const MAX_ERROR_LEN: usize = 576;

/// Somebody answered an echo request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Who.
    pub source: IpAddr,
    /// As in the request.
    pub identifier: u16,
    /// As in the request.
    pub sequence: u16,
    /// As in the request.
    pub data: Bytes,
}

/// An ICMP message with its checksum, as a datagram.
fn message(
    ip: &Ip,
    (source, destination): (IpAddr, IpAddr),
    message: &Message,
    data: Bytes,
) -> TxDatagram {
    let mut frame = TxFrame::default();
    let header = frame.head.prepend(icmpv4::HEADER_LEN);
    message.emit(header);
    let checksum = !checksum::sum_slices([&*header, &data]);
    header[icmpv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
    if !data.is_empty() {
        frame.payload.push(data);
    }
    TxDatagram {
        frame,
        source,
        destination,
        protocol: ipv4::PROTOCOL_ICMP,
        tos: 0,
        ttl: ip.config.ttl,
        may_fragment: true,
        options: None,
    }
}

/// An echo request from us, to see whether somebody is there. The answer is in [`Outcome::echoes`].
#[must_use]
pub fn echo_request(
    ip: &Ip,
    source: IpAddr,
    destination: IpAddr,
    (identifier, sequence): (u16, u16),
    data: Bytes,
) -> TxDatagram {
    let way = (source, destination);
    if destination.is_ipv6() {
        let request = icmpv6::Message::EchoRequest {
            identifier,
            sequence,
        };
        return v6::icmp::message(ip, way, &request, data);
    }
    let request = Message::EchoRequest {
        identifier,
        sequence,
    };
    message(ip, way, &request, data)
}

/// Takes one ICMP message.
pub(super) fn receive(
    ip: &Ip,
    now: Instant,
    datagram: &Datagram,
    ip_options: &[u8],
    outcome: &mut Outcome,
) {
    let payload = &datagram.payload;
    if !datagram.checksum_ok && checksum::checksum(payload) != 0 {
        ip.counters
            .drop_packet(Counter::IcmpDropMalformed, datagram);
        return;
    }
    let Ok(parsed) = icmpv4::parse(payload) else {
        ip.counters
            .drop_packet(Counter::IcmpDropMalformed, datagram);
        return;
    };
    match parsed {
        Message::EchoRequest {
            identifier,
            sequence,
        } => {
            let wanted = datagram.cast == Cast::Unicast && ip.config.answer_echo;
            if !wanted {
                // To a broadcast it may stay unanswered (RFC 1122 §3.2.2.6), lest it be amplified.
                ip.counters.drop_packet(Counter::IcmpDropIgnored, datagram);
                return;
            }
            let reply = Message::EchoReply {
                identifier,
                sequence,
            };
            let way = (datagram.destination, datagram.source);
            let data = payload.slice(icmpv4::HEADER_LEN..);
            let mut reply = message(ip, way, &reply, data);
            reply.tos = datagram.tos;
            if let IpAddr::V4(ours) = datagram.destination {
                reply.options = options::for_echo_reply(ip_options, ours, now);
            }
            outcome.replies.push(reply);
        }
        Message::Unreachable { .. }
        | Message::TimeExceeded { .. }
        | Message::ParameterProblem { .. } => match error(ip, &parsed, datagram) {
            Some(error) => outcome.errors.push(error),
            None => ip.counters.drop_packet(Counter::IcmpDropIgnored, datagram),
        },
        Message::EchoReply {
            identifier,
            sequence,
        } => outcome.echoes.push(Echo {
            source: datagram.source,
            identifier,
            sequence,
            data: payload.slice(icmpv4::HEADER_LEN..),
        }),
        _ => ip.counters.drop_packet(Counter::IcmpDropIgnored, datagram),
    }
}

/// What an error message says about a datagram of ours; none if it was not ours or cannot be told.
fn error(ip: &Ip, message: &Message, datagram: &Datagram) -> Option<IcmpError> {
    let quote = datagram.payload.slice(icmpv4::HEADER_LEN..);
    let header = ipv4::parse_quoted(&quote).ok()?;
    let quoted = quote.slice(usize::from(header.header_len)..);
    let ours = ip.is_local(header.source.into());
    // Errors about groups and broadcasts would be a way to multiply them (RFC 1122 §3.2.2).
    let to_one = !header.destination.is_multicast() && !ip.is_broadcast(header.destination.into());
    if !ours || !to_one || header.fragment_offset != 0 || quoted.len() < 8 {
        return None;
    }
    let kind = match *message {
        Message::Unreachable { code, mtu } => match code {
            icmpv4::CODE_PROTOCOL => ErrorKind::ProtocolUnreachable,
            icmpv4::CODE_PORT => ErrorKind::PortUnreachable,
            icmpv4::CODE_TOO_BIG => ErrorKind::TooBig {
                mtu: match mtu {
                    0 => plateau_below(header.total_len.into()) as u32,
                    mtu => mtu.into(),
                },
            },
            code => ErrorKind::Unreachable { code },
        },
        Message::TimeExceeded { .. } => ErrorKind::TimeExceeded,
        _ => ErrorKind::ParameterProblem,
    };
    Some(IcmpError {
        kind,
        reporter: datagram.source,
        source: header.source.into(),
        destination: header.destination.into(),
        protocol: header.protocol,
        quoted,
    })
}

/// See [`Ip::error_for`].
pub(super) fn error_for(
    ip: &Ip,
    now: Instant,
    datagram: &Datagram,
    kind: ErrorKind,
) -> Option<TxDatagram> {
    let message = match kind {
        ErrorKind::Unreachable { code } => Message::Unreachable { code, mtu: 0 },
        ErrorKind::ProtocolUnreachable => Message::Unreachable {
            code: icmpv4::CODE_PROTOCOL,
            mtu: 0,
        },
        ErrorKind::PortUnreachable => Message::Unreachable {
            code: icmpv4::CODE_PORT,
            mtu: 0,
        },
        ErrorKind::TimeExceeded => Message::TimeExceeded {
            code: icmpv4::CODE_REASSEMBLY,
        },
        ErrorKind::ParameterProblem => Message::ParameterProblem {
            code: 0,
            pointer: 0,
        },
        // Hosts do not forward, so that nothing is too big for them; source quench is history.
        ErrorKind::TooBig { .. } | ErrorKind::SourceQuench => return None,
    };
    if !may_be_answered(datagram) {
        return None;
    }
    if !ip.allow_icmp(now, datagram.source) {
        ip.counters.count(Counter::IcmpLimited);
        return None;
    }
    let room = MAX_ERROR_LEN - ipv4::HEADER_LEN - icmpv4::HEADER_LEN;
    let quote = datagram.original.slice(..datagram.original.len().min(room));
    let way = (datagram.destination, datagram.source);
    Some(self::message(ip, way, &message, quote))
}

/// The rules of RFC 1122 §3.2.2: no error about an error, about what came to many (by link or by IP), or
/// to an address that is not one host. (Later fragments never become a [`Datagram`].)
fn may_be_answered(datagram: &Datagram) -> bool {
    let IpAddr::V4(source) = datagram.source else {
        return false;
    };
    let one_host = !source.is_unspecified() && !source.is_multicast() && !source.is_broadcast();
    let is_error = datagram.protocol == ipv4::PROTOCOL_ICMP
        && icmpv4::parse(&datagram.payload).map_or(true, |message| message.is_error());
    datagram.cast == Cast::Unicast && one_host && !is_error
}
