//! Datagrams out: the header in front of the data.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::checksum::pseudo_header;
use crate::ip::TxDatagram;
use crate::packet::{Checksum, PartialChecksum, TxFrame};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::udp::{CHECKSUM_OFFSET, HEADER_LEN, Header};

/// Bytes of data that fit one datagram over IPv4.
pub(super) const MAX_DATA_LEN: usize = 65_535 - 20 - HEADER_LEN;

/// How datagrams of a socket travel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) may_fragment: bool,
}

/// A datagram that carries `data`, at most [`MAX_DATA_LEN`] bytes. Its checksum is left to the last stage.
pub(super) fn datagram(
    source: SocketAddr,
    destination: SocketAddr,
    data: Bytes,
    service: Service,
) -> TxDatagram {
    let len = HEADER_LEN + data.len();
    let mut frame = TxFrame::default();
    let header = Header {
        source_port: source.port(),
        destination_port: destination.port(),
        len: len as u16,
        checksum: pseudo_header(source.ip(), destination.ip(), PROTOCOL_UDP, len),
    };
    header.emit(frame.head.prepend(HEADER_LEN));
    if !data.is_empty() {
        frame.payload.push(data);
    }
    frame.checksum = Checksum::Partial(PartialChecksum {
        start: 0,
        offset: CHECKSUM_OFFSET as u16,
    });
    TxDatagram {
        frame,
        source: source.ip(),
        destination: destination.ip(),
        protocol: PROTOCOL_UDP,
        tos: service.tos,
        ttl: service.ttl,
        may_fragment: service.may_fragment,
        options: None,
    }
}
