//! Datagrams out: finds the next hop, puts the header in front, cuts what is too large, and hands what is
//! for ourselves back to the reader.

use std::net::IpAddr;
use std::sync::Arc;

use super::host::{Place, Tables};
use super::outgoing4::V4;
use super::v6::V6;
use super::{Cast, Ip, RxPacket, TxDatagram};
use crate::counters::Counter;
use crate::ethernet::TxPacket;
use crate::packet::{RxChecksum, TxFrame};
use crate::time::Instant;

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

/// What the versions of IP do differently with an outgoing datagram: its header.
pub(super) trait Version: Copy {
    /// Bytes of the header of a whole datagram.
    fn header_len(self, datagram: &TxDatagram) -> usize;

    /// False for what no header can describe.
    fn is_possible(self, datagram: &TxDatagram) -> bool;

    /// Puts the header of a whole datagram in front.
    fn prepend(self, ip: &Ip, datagram: &mut TxDatagram);

    /// Cuts `datagram` into fragments that fit `mtu`, each with its header.
    fn cut(self, ip: &Ip, datagram: TxDatagram, mtu: usize, each: impl FnMut(TxFrame));
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
                    self.send(way, V4(source, destination), datagram, packets, loopback);
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    self.send(way, V6(source, destination), datagram, packets, loopback);
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

    fn send(
        &self,
        way: Way,
        version: impl Version,
        mut datagram: TxDatagram,
        packets: &mut Vec<TxPacket>,
        loopback: &mut Vec<RxPacket>,
    ) {
        if !version.is_possible(&datagram) {
            return self.drop(Counter::IpDropTooBig, &datagram);
        }
        let (next_hop, mtu) = match way.out {
            Out::Nowhere => return self.drop(Counter::IpDropNoRoute, &datagram),
            Out::Loopback => {
                version.prepend(&self.ip, &mut datagram);
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
        let total_len = version.header_len(&datagram) + datagram.frame.len();
        // What the device cuts by itself is not too large; what may not be cut, but was built before the
        // path was known to be narrow, is left to the router, whose word keeps the sender informed.
        if datagram.frame.segmentation.is_some()
            || total_len <= mtu
            || (!datagram.may_fragment && total_len <= self.ip.link_mtu())
        {
            version.prepend(&self.ip, &mut datagram);
            packets.push(TxPacket {
                frame: datagram.frame,
                next_hop,
            });
        } else if datagram.may_fragment {
            version.cut(&self.ip, datagram, mtu, |frame| {
                packets.push(TxPacket { frame, next_hop });
            });
        } else {
            self.drop(Counter::IpDropTooBig, &datagram);
        }
    }

    fn drop(&self, counter: Counter, datagram: &TxDatagram) {
        let detail = (datagram.source, datagram.destination, datagram.frame.len());
        self.ip.counters.drop_packet(counter, &detail);
    }
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
