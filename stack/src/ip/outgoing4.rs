//! IPv4 datagrams out: the header in front (RFC 791 §3.1); cut if need be and allowed.

use std::net::Ipv4Addr;

use super::fragment::cut;
use super::options::for_later_fragments;
use super::writer::Version;
use super::{Ip, TxDatagram};
use crate::checksum;
use crate::ethernet::complete_checksum;
use crate::packet::{TxFrame, grow};
use crate::wire::ipv4;

/// Source and destination.
#[derive(Clone, Copy)]
pub(super) struct V4(pub(super) Ipv4Addr, pub(super) Ipv4Addr);

impl V4 {
    fn identification(self, ip: &Ip, datagram: &TxDatagram) -> u16 {
        let Self(source, destination) = self;
        let protocol = datagram.protocol;
        ip.identification
            .next(source.into(), destination.into(), protocol) as u16
    }

    /// A header for `datagram`; the lengths are left to [`emit`].
    fn header(self, datagram: &TxDatagram, identification: u16) -> ipv4::Header {
        ipv4::Header {
            header_len: 0,
            tos: datagram.tos,
            total_len: 0,
            identification,
            dont_fragment: !datagram.may_fragment,
            more_fragments: false,
            fragment_offset: 0,
            // RFC 1122 §3.2.1.7: a datagram with a TTL of 0 is not sent.
            ttl: datagram.ttl.max(1),
            protocol: datagram.protocol,
            checksum: 0,
            source: self.0,
            destination: self.1,
        }
    }
}

impl Version for V4 {
    fn header_len(self, datagram: &TxDatagram) -> usize {
        ipv4::header_len(options_of(datagram).len())
    }

    fn is_possible(self, datagram: &TxDatagram) -> bool {
        let device_cuts = datagram.frame.segmentation.is_some();
        let total_len = self.header_len(datagram) + datagram.frame.len();
        (total_len <= ipv4::MAX_LEN || device_cuts)
            && options_of(datagram).len() <= ipv4::MAX_OPTIONS_LEN
    }

    fn prepend(self, ip: &Ip, datagram: &mut TxDatagram) {
        // A datagram that nobody may cut needs no identification (RFC 6864 §4.1).
        let identification = if datagram.may_fragment {
            self.identification(ip, datagram)
        } else {
            0
        };
        let options = datagram.options.take().unwrap_or_default();
        let header = self.header(datagram, identification);
        emit(header, &options, &mut datagram.frame);
    }

    fn cut(self, ip: &Ip, mut datagram: TxDatagram, mtu: usize, mut each: impl FnMut(TxFrame)) {
        // No device sums over several frames.
        complete_checksum(&mut datagram.frame);
        let whole = self.header(&datagram, self.identification(ip, &datagram));
        let first = datagram.options.take().unwrap_or_default();
        let later = for_later_fragments(&first);
        let room = |options: &[u8]| mtu - ipv4::header_len(options.len());
        cut(&datagram.frame, (room(&first), room(&later)), |piece| {
            let mut frame = piece.frame;
            let header = ipv4::Header {
                fragment_offset: piece.offset,
                more_fragments: piece.more,
                ..whole
            };
            let options: &[u8] = if piece.offset == 0 { &first } else { &later };
            emit(header, options, &mut frame);
            each(frame);
        });
    }
}

fn options_of(datagram: &TxDatagram) -> &[u8] {
    datagram.options.as_deref().unwrap_or_default()
}

/// Puts `header` with `options` in front of `frame`, lengths and checksum filled in. A device may be able to
/// cut more than the total length can say: then it is zero, as Linux has it (`iph_set_totlen`).
fn emit(header: ipv4::Header, options: &[u8], frame: &mut TxFrame) {
    let header_len = ipv4::header_len(options.len());
    let header = ipv4::Header {
        header_len: header_len as u8,
        total_len: u16::try_from(header_len + frame.len()).unwrap_or(0),
        ..header
    };
    let out = grow(frame, header_len);
    header.emit(options, out);
    let checksum = checksum::checksum(out);
    out[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
}
