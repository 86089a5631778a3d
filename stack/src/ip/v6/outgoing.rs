//! IPv6 datagrams out: the header in front, with a label for their flow (RFC 6437); cut by us if need be,
//! since routers do not (RFC 8200 §4.5).

use std::net::Ipv6Addr;

use crate::ethernet::complete_checksum;
use crate::ip::fragment::cut;
use crate::ip::writer::Version;
use crate::ip::{Ip, TxDatagram};
use crate::packet::{TxFrame, grow};
use crate::wire::ipv6::{HEADER_LEN, Header, MAX_PAYLOAD_LEN, NEXT_FRAGMENT};
use crate::wire::ipv6_extension::{FRAGMENT_LEN, Fragment};

/// Source and destination.
#[derive(Clone, Copy)]
pub(in crate::ip) struct V6(pub(in crate::ip) Ipv6Addr, pub(in crate::ip) Ipv6Addr);

impl V6 {
    /// A header for `datagram`; the payload's length and kind are left to [`emit`].
    fn header(self, ip: &Ip, datagram: &TxDatagram) -> Header {
        let Self(source, destination) = self;
        // Ports stand in the first four bytes, so that every flow has a label of its own (RFC 6437 §3).
        let ports = datagram.frame.head.as_slice().first_chunk::<4>();
        let flow = (source, destination, datagram.protocol, ports);
        Header {
            traffic_class: datagram.tos,
            flow_label: ip.flow_labels.hash(flow) as u32 & 0x000f_ffff,
            payload_len: 0,
            next_header: datagram.protocol,
            hop_limit: datagram.ttl,
            source,
            destination,
        }
    }
}

impl Version for V6 {
    fn header_len(self, _: &TxDatagram) -> usize {
        HEADER_LEN
    }

    fn is_possible(self, datagram: &TxDatagram) -> bool {
        datagram.frame.len() <= MAX_PAYLOAD_LEN && datagram.options.is_none()
    }

    fn prepend(self, ip: &Ip, datagram: &mut TxDatagram) {
        let header = self.header(ip, datagram);
        emit(header, &mut datagram.frame);
    }

    fn cut(self, ip: &Ip, mut datagram: TxDatagram, mtu: usize, mut each: impl FnMut(TxFrame)) {
        let whole = Header {
            next_header: NEXT_FRAGMENT,
            ..self.header(ip, &datagram)
        };
        let Self(source, destination) = self;
        let identification =
            ip.identification
                .next(source.into(), destination.into(), NEXT_FRAGMENT);
        // No device sums over several frames.
        complete_checksum(&mut datagram.frame);
        let room = mtu - HEADER_LEN - FRAGMENT_LEN;
        cut(&datagram.frame, (room, room), |piece| {
            let mut frame = piece.frame;
            let fragment = Fragment {
                next_header: datagram.protocol,
                offset: piece.offset,
                more: piece.more,
                identification,
            };
            fragment.emit(grow(&mut frame, FRAGMENT_LEN));
            emit(whole, &mut frame);
            each(frame);
        });
    }
}

/// Puts `header` in front of `frame`, its length filled in.
fn emit(header: Header, frame: &mut TxFrame) {
    let header = Header {
        payload_len: frame.len() as u16,
        ..header
    };
    header.emit(grow(frame, HEADER_LEN));
}
