//! Datagrams out: finds the next hop, puts the header in front, cuts what is too large, and hands what is
//! for ourselves back to the reader.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::fragment::cut;
use super::host::{Place, Tables};
use super::{Cast, Ip, RxPacket, TxDatagram};
use crate::checksum;
use crate::counters::Counter;
use crate::ethernet::{TxPacket, complete_checksum};
use crate::packet::{RxChecksum, TxFrame, grow};
use crate::time::Instant;
use crate::wire::ipv4;

/// The stage that sends datagrams to the link.
#[derive(Debug)]
pub struct IpWriter {
    ip: Arc<Ip>,
}

/// Where a datagram goes; kept from one datagram to the next, since most of a batch go the same way.
#[derive(Clone, Copy)]
struct Way {
    destination: IpAddr,
    out: Out,
}

#[derive(Clone, Copy)]
enum Out {
    Nowhere,
    Loopback,
    Link {
        next_hop: IpAddr,
        mtu: usize,
        let_routers_cut: bool,
    },
}

impl IpWriter {
    /// A writer of its own for each queue.
    #[must_use]
    pub const fn new(ip: Arc<Ip>) -> Self {
        Self { ip }
    }

    /// Takes all of `datagrams` and appends what goes to the link to `packets`, and what goes to
    /// ourselves to `loopback`, which is to be handed to an [`super::IpReader`].
    pub fn process(
        &mut self,
        now: Instant,
        datagrams: &mut Vec<TxDatagram>,
        packets: &mut Vec<TxPacket>,
        loopback: &mut Vec<RxPacket>,
    ) {
        let _ = now;
        self.ip
            .counters
            .add(Counter::IpTxDatagrams, datagrams.len() as u64);
        let tables = self.ip.tables();
        let mut last: Option<Way> = None;
        for datagram in datagrams.drain(..) {
            let way = match last {
                Some(way) if way.destination == datagram.destination => way,
                _ => *last.insert(self.way(&tables, datagram.destination)),
            };
            match (datagram.source, datagram.destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    self.version4(way, (source, destination), datagram, packets, loopback);
                }
                _ => self
                    .ip
                    .counters
                    .drop_packet(Counter::IpDropFamily, &datagram.destination),
            }
        }
    }

    fn way(&self, tables: &Tables, destination: IpAddr) -> Way {
        let out = match tables.place(destination) {
            Place::Local | Place::Loopback => Out::Loopback,
            _ => tables
                .next_hop(destination)
                .map_or(Out::Nowhere, |next_hop| {
                    let known = self.ip.known_mtu(destination);
                    Out::Link {
                        next_hop,
                        mtu: self.ip.mtu(destination),
                        let_routers_cut: known.is_some_and(|known| known.let_routers_cut),
                    }
                }),
        };
        Way { destination, out }
    }

    fn version4(
        &self,
        way: Way,
        addresses: (Ipv4Addr, Ipv4Addr),
        mut datagram: TxDatagram,
        packets: &mut Vec<TxPacket>,
        loopback: &mut Vec<RxPacket>,
    ) {
        let options_len = datagram.options.as_ref().map_or(0, |options| options.len());
        let header_len = ipv4::header_len(options_len);
        let total_len = header_len + datagram.frame.len();
        let device_cuts = datagram.frame.segmentation.is_some();
        if (total_len > ipv4::MAX_LEN && !device_cuts) || options_len > ipv4::MAX_OPTIONS_LEN {
            return self.drop(Counter::IpDropTooBig, &datagram);
        }
        let (next_hop, mtu) = match way.out {
            Out::Nowhere => return self.drop(Counter::IpDropNoRoute, &datagram),
            Out::Loopback => {
                self.prepend(addresses, &mut datagram);
                return loopback.push(looped(&datagram.frame));
            }
            Out::Link {
                next_hop,
                mtu,
                let_routers_cut,
            } => {
                datagram.may_fragment |= let_routers_cut;
                (next_hop, mtu)
            }
        };
        // What the device cuts by itself is not too large; what may not be cut, but was built before the
        // path was known to be narrow, is left to the router, whose word keeps the sender informed.
        if device_cuts
            || total_len <= mtu
            || (!datagram.may_fragment && total_len <= self.ip.link_mtu())
        {
            self.prepend(addresses, &mut datagram);
            packets.push(TxPacket {
                frame: datagram.frame,
                next_hop,
            });
        } else if datagram.may_fragment {
            self.cut(addresses, datagram, next_hop, mtu, packets);
        } else {
            self.drop(Counter::IpDropTooBig, &datagram);
        }
    }

    fn drop(&self, counter: Counter, datagram: &TxDatagram) {
        let detail = (datagram.source, datagram.destination, datagram.frame.len());
        self.ip.counters.drop_packet(counter, &detail);
    }

    /// Puts the header of a whole datagram in front.
    fn prepend(&self, addresses: (Ipv4Addr, Ipv4Addr), datagram: &mut TxDatagram) {
        // A datagram that nobody may cut needs no identification (RFC 6864 §4.1).
        let identification = if datagram.may_fragment {
            self.identification(datagram)
        } else {
            0
        };
        let options = datagram.options.take().unwrap_or_default();
        let header = header(datagram, addresses, identification);
        emit(header, &options, &mut datagram.frame);
    }

    fn identification(&self, datagram: &TxDatagram) -> u16 {
        let TxDatagram {
            source,
            destination,
            protocol,
            ..
        } = *datagram;
        self.ip.identification.next(source, destination, protocol)
    }

    fn cut(
        &self,
        addresses: (Ipv4Addr, Ipv4Addr),
        mut datagram: TxDatagram,
        next_hop: IpAddr,
        mtu: usize,
        packets: &mut Vec<TxPacket>,
    ) {
        // No device sums over several frames.
        complete_checksum(&mut datagram.frame);
        let whole = header(&datagram, addresses, self.identification(&datagram));
        let options = datagram.options.take().unwrap_or_default();
        cut(&datagram.frame, &options, mtu, |fragment| {
            let mut frame = fragment.frame;
            let header = ipv4::Header {
                fragment_offset: fragment.offset,
                more_fragments: fragment.more,
                ..whole
            };
            emit(header, &fragment.options, &mut frame);
            packets.push(TxPacket { frame, next_hop });
        });
    }
}

/// A header for `datagram`; the lengths are left to [`emit`].
fn header(
    datagram: &TxDatagram,
    (source, destination): (Ipv4Addr, Ipv4Addr),
    identification: u16,
) -> ipv4::Header {
    ipv4::Header {
        header_len: 0,
        tos: datagram.tos,
        total_len: 0,
        identification,
        dont_fragment: !datagram.may_fragment,
        more_fragments: false,
        fragment_offset: 0,
        ttl: datagram.ttl,
        protocol: datagram.protocol,
        checksum: 0,
        source,
        destination,
    }
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

/// A datagram to ourselves: nothing on the way can spoil it.
fn looped(frame: &TxFrame) -> RxPacket {
    RxPacket {
        data: frame.to_vec().into(),
        cast: Cast::Loopback,
        checksum: RxChecksum::Verified,
        segmentation: frame.segmentation,
    }
}
