//! Frames of ours: solicitations and advertisements (RFC 4861 §7.2).

use std::net::{IpAddr, Ipv6Addr};

use crate::checksum;
use crate::ethernet::Link;
use crate::ethernet::conflict::Say;
use crate::packet::TxFrame;
use crate::wire::ethernet::{MacAddr, TYPE_IPV6};
use crate::wire::ipv6::{ALL_NODES, HEADER_LEN, Header, NEXT_ICMPV6, solicited_node};
use crate::wire::ndp::{CHECKSUM_OFFSET, HOP_LIMIT, Message, Options};

/// Source and destination of a message, and the station it goes to.
pub(super) struct Way {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) station: MacAddr,
}

impl Way {
    /// To a group.
    pub(super) const fn to_group(source: Ipv6Addr, group: Ipv6Addr) -> Self {
        Self {
            source,
            destination: group,
            station: MacAddr::from_ipv6_group(group),
        }
    }
}

/// A question whether anybody has our address (RFC 4862 §5.4.2), or its announcement (RFC 4861 §7.2.6).
pub(in crate::ethernet) fn say(link: &Link, say: Say, address: Ipv6Addr) -> TxFrame {
    match say {
        Say::Probe => {
            let way = Way::to_group(Ipv6Addr::UNSPECIFIED, solicited_node(address));
            let message = Message::NeighbourSolicitation { target: address };
            frame(link, &way, &message, &Options::default())
        }
        Say::Announcement => {
            let way = Way::to_group(address, ALL_NODES);
            advertisement(link, &way, address, false)
        }
    }
}

/// The frame that asks for `target`, of whom `station` was known.
pub(in crate::ethernet) fn ask(link: &Link, target: Ipv6Addr, station: Option<MacAddr>) -> TxFrame {
    let source = match link.asker(target.into()) {
        Some(IpAddr::V6(address)) => address,
        _ => Ipv6Addr::UNSPECIFIED,
    };
    let way = match station {
        Some(station) => Way {
            source,
            destination: target,
            station,
        },
        None => Way::to_group(source, solicited_node(target)),
    };
    let options = Options {
        // From nobody there is no station either (RFC 4861 §4.3).
        source: (!source.is_unspecified()).then_some(link.mac),
        ..Options::default()
    };
    let message = Message::NeighbourSolicitation { target };
    frame(link, &way, &message, &options)
}

/// Says that `address` is ours, whatever was known before.
pub(super) fn advertisement(link: &Link, way: &Way, address: Ipv6Addr, solicited: bool) -> TxFrame {
    let message = Message::NeighbourAdvertisement {
        target: address,
        router: false,
        solicited,
        overrides: true,
    };
    let options = Options {
        target: Some(link.mac),
        ..Options::default()
    };
    frame(link, way, &message, &options)
}

pub(super) fn frame(link: &Link, way: &Way, message: &Message, options: &Options) -> TxFrame {
    let mut frame = TxFrame::default();
    let len = message.emitted_len(options);
    let body = frame.head.prepend(len);
    message.emit(options, body);
    let (source, destination) = (way.source.into(), way.destination.into());
    let pseudo = checksum::pseudo_header(source, destination, NEXT_ICMPV6, len);
    let sum = checksum::combine(pseudo, checksum::sum(body), false);
    body[CHECKSUM_OFFSET..][..2].copy_from_slice(&(!sum).to_be_bytes());
    let header = Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: len as u16,
        next_header: NEXT_ICMPV6,
        hop_limit: HOP_LIMIT,
        source: way.source,
        destination: way.destination,
    };
    header.emit(frame.head.prepend(HEADER_LEN));
    link.put_header(&mut frame, way.station, TYPE_IPV6);
    frame
}
