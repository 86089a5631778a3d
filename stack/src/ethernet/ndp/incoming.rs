//! Messages of others (RFC 4861 §7.1, §7.2.3 to §7.2.5; RFC 4862 §5.4.3, §5.4.4).

use std::collections::VecDeque;
use std::net::Ipv6Addr;

use super::frames::{Way, advertisement};
use crate::checksum;
use crate::counters::Counter;
use crate::ethernet::neighbours::Told;
use crate::ethernet::reader::EthernetReader;
use crate::ethernet::{Claim, Link, Outcome, TxPacket};
use crate::packet::{RxChecksum, TxFrame};
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::wire::ipv6::{self, ALL_NODES, HEADER_LEN, NEXT_HEADER_OFFSET, NEXT_ICMPV6};
use crate::wire::ndp::{self, HOP_LIMIT, Message, Options, REDIRECT, ROUTER_SOLICITATION};

/// A message that passed all checks that need no knowledge of ours.
struct Heard {
    header: ipv6::Header,
    /// The station that sent the frame.
    station: MacAddr,
    message: Message,
    options: Options,
}

/// True for datagrams that are messages of neighbour discovery.
pub(in crate::ethernet) fn is_message(datagram: &[u8]) -> bool {
    datagram.get(NEXT_HEADER_OFFSET) == Some(&NEXT_ICMPV6)
        && datagram
            .get(HEADER_LEN)
            .is_some_and(|kind| (ROUTER_SOLICITATION..=REDIRECT).contains(kind))
}

impl EthernetReader {
    /// Takes the message `datagram`, which `station` sent.
    pub(in crate::ethernet) fn ndp(
        &self,
        now: Instant,
        station: MacAddr,
        datagram: &[u8],
        checksum: RxChecksum,
        outcome: &mut Outcome,
    ) {
        let link = &self.link;
        let heard = match check(station, datagram, checksum) {
            Ok(heard) => heard,
            Err(counter) => return link.counters.drop_packet(counter, &station),
        };
        match heard.message {
            Message::NeighbourSolicitation { target } => {
                solicited(link, now, &heard, target, outcome);
            }
            Message::NeighbourAdvertisement { target, .. } => {
                let (conflict, defence) = watch_conflict(link, now, &heard, target);
                outcome.replies.extend(defence);
                if conflict {
                    return link.counters.drop_packet(Counter::NdpDropBogus, &station);
                }
                outcome.released.extend(advertised(link, now, &heard));
            }
            Message::RouterAdvertisement(said) => {
                outcome.released.extend(passed_by(link, now, &heard));
                link.hear_router(now, heard.header.source, &said, &heard.options);
                outcome.announcements_due = true;
            }
            // Hosts are not asked that (RFC 4861 §6.2.6).
            Message::RouterSolicitation => {
                link.counters
                    .drop_packet(Counter::IcmpDropIgnored, &station);
            }
        }
    }

    /// Learns who our neighbours are, and says nothing.
    pub(in crate::ethernet) fn overhear_ndp(
        &self,
        now: Instant,
        station: MacAddr,
        datagram: &[u8],
        checksum: RxChecksum,
        outcome: &mut Outcome,
    ) {
        let link = &self.link;
        let Ok(heard) = check(station, datagram, checksum) else {
            return;
        };
        let released = match heard.message {
            // Whoever asks for us will have to be answered by the host that takes over.
            Message::NeighbourSolicitation { target } if link.holds(target.into()) => {
                passed_by(link, now, &heard)
            }
            Message::NeighbourAdvertisement { target, .. } if !link.holds(target.into()) => {
                advertised(link, now, &heard)
            }
            Message::RouterAdvertisement(_) => passed_by(link, now, &heard),
            _ => return,
        };
        outcome.released.extend(released);
    }
}

/// RFC 4861 §7.1 and §6.1.
fn check(station: MacAddr, datagram: &[u8], checksum: RxChecksum) -> Result<Heard, Counter> {
    let header = ipv6::parse(datagram).map_err(|_| Counter::NdpDropMalformed)?;
    let body = &datagram[HEADER_LEN..][..usize::from(header.payload_len)];
    let (source, destination) = (header.source.into(), header.destination.into());
    let pseudo = checksum::pseudo_header(source, destination, NEXT_ICMPV6, body.len());
    let intact = checksum != RxChecksum::Unknown
        || checksum::combine(pseudo, checksum::sum(body), false) == 0xffff;
    if !intact {
        return Err(Counter::NdpDropMalformed);
    }
    if body.first() == Some(&REDIRECT) {
        return Err(Counter::IcmpDropIgnored);
    }
    let (message, options) = ndp::parse(body).map_err(|_| Counter::NdpDropMalformed)?;
    let heard = Heard {
        header,
        station,
        message,
        options,
    };
    if heard.is_plausible() {
        Ok(heard)
    } else {
        Err(Counter::NdpDropBogus)
    }
}

impl Heard {
    /// The station that the sender says it is, if it says one that can be.
    fn sender(&self) -> Option<MacAddr> {
        self.options.source.filter(|mac| mac.is_station())
    }

    fn is_plausible(&self) -> bool {
        let ipv6::Header {
            source,
            destination,
            hop_limit,
            ..
        } = self.header;
        let from_nobody = source.is_unspecified();
        let nameless = self.options.source.is_none();
        let possible = !source.is_multicast() && !source.is_loopback();
        let fits = match self.message {
            Message::NeighbourSolicitation { target } => {
                let asks_group = destination == ipv6::solicited_node(target);
                !target.is_multicast() && (!from_nobody || (nameless && asks_group))
            }
            Message::NeighbourAdvertisement {
                target, solicited, ..
            } => {
                let answers_all = destination.is_multicast() && solicited;
                let about_one = !target.is_multicast();
                about_one && !from_nobody && !answers_all
            }
            Message::RouterAdvertisement(_) => source.is_unicast_link_local(),
            Message::RouterSolicitation => !from_nobody || nameless,
        };
        hop_limit == HOP_LIMIT && possible && fits
    }
}

/// Somebody asks for `target`.
fn solicited(link: &Link, now: Instant, heard: &Heard, target: Ipv6Addr, outcome: &mut Outcome) {
    let source = heard.header.source;
    let (conflict, defence) = if source.is_unspecified() {
        // Another one that wants our address, too; if it is ours already, the answer says so.
        link.observe(now, target.into(), heard.station, |claim| {
            claim == Claim::Probing
        })
    } else {
        link.observe(now, source.into(), heard.station, |_| true)
    };
    outcome.replies.extend(defence);
    if conflict || !link.holds(target.into()) {
        let counter = Counter::NdpDropBogus;
        if conflict {
            link.counters.drop_packet(counter, &heard.station);
        }
        return;
    }
    outcome.released.extend(passed_by(link, now, heard));
    outcome.replies.push(answer(link, heard, target));
}

fn answer(link: &Link, heard: &Heard, target: Ipv6Addr) -> TxFrame {
    let source = heard.header.source;
    if source.is_unspecified() {
        let way = Way::to_group(target, ALL_NODES);
        return advertisement(link, &way, target, false);
    }
    let way = Way {
        source: target,
        destination: source,
        station: heard.sender().unwrap_or(heard.station),
    };
    advertisement(link, &way, target, true)
}

/// Learns where the sender of a message is that answers nothing.
fn passed_by(link: &Link, now: Instant, heard: &Heard) -> VecDeque<TxPacket> {
    match heard.sender() {
        Some(mac) if !heard.header.source.is_unspecified() => {
            link.learn(now, heard.header.source.into(), Some(mac), Told::IN_PASSING)
        }
        _ => VecDeque::new(),
    }
}

/// Looks whether an advertisement is about an address of ours.
fn watch_conflict(
    link: &Link,
    now: Instant,
    heard: &Heard,
    target: Ipv6Addr,
) -> (bool, Option<TxFrame>) {
    let station = heard.options.target.unwrap_or(heard.station);
    link.observe(now, target.into(), station, |_| true)
}

/// RFC 4861 §7.2.5.
fn advertised(link: &Link, now: Instant, heard: &Heard) -> VecDeque<TxPacket> {
    let Message::NeighbourAdvertisement {
        target,
        solicited,
        overrides,
        ..
    } = heard.message
    else {
        return VecDeque::new();
    };
    let told = Told {
        to_us: false,
        confirms: solicited,
        overrides,
    };
    let mac = heard.options.target.filter(|mac| mac.is_station());
    link.learn(now, target.into(), mac, told)
}
