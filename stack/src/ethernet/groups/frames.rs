//! Reports as frames (RFC 3376 §4.2, RFC 3810 §5.2): from a neighbour to neighbours, with the option that
//! has routers look (RFC 2113, RFC 2711).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{MAX_RECORDS, Report};
use crate::checksum;
use crate::ethernet::Link;
use crate::packet::TxFrame;
use crate::wire::ethernet::{MacAddr, TYPE_IPV4, TYPE_IPV6};
use crate::wire::group_report::RecordKind;
use crate::wire::{igmp, ipv4, ipv6, mld};

/// Router Alert (RFC 2113 §2.1).
const ALERT4: [u8; 4] = [148, 4, 0, 0];
/// A hop-by-hop options header with Router Alert for listener discovery (RFC 2711 §2.1), and padding.
const ALERT6: [u8; 8] = [ipv6::NEXT_ICMPV6, 0, 5, 2, 0, 0, 1, 0];
/// DSCP of reports (RFC 3376 §4).
const TOS: u8 = 0xc0;

/// The frames that say `report`.
pub(super) fn report(link: &Link, report: &Report, mut each: impl FnMut(TxFrame)) {
    let groups = report.records.iter();
    let v4: Vec<(RecordKind, Ipv4Addr)> = groups
        .clone()
        .filter_map(|&(kind, group)| match group {
            IpAddr::V4(group) => Some((kind, group)),
            IpAddr::V6(_) => None,
        })
        .collect();
    let v6: Vec<(RecordKind, Ipv6Addr)> = groups
        .filter_map(|&(kind, group)| match group {
            IpAddr::V6(group) => Some((kind, group)),
            IpAddr::V4(_) => None,
        })
        .collect();
    if report.old {
        v4.iter()
            .for_each(|&(kind, group)| each(old4(link, kind, group)));
        v6.iter()
            .for_each(|&(kind, group)| each(old6(link, kind, group)));
        return;
    }
    for records in v4.chunks(MAX_RECORDS) {
        let mut body = vec![0; igmp::report_len(records.len())];
        igmp::emit_report(records, &mut body);
        each(frame4(link, igmp::REPORTS_GROUP, body));
    }
    for records in v6.chunks(MAX_RECORDS) {
        let mut body = vec![0; mld::report_len(records.len())];
        mld::emit_report(records, &mut body);
        each(frame6(link, mld::REPORTS_GROUP, body));
    }
}

/// RFC 2236 §3: a report goes to the group itself.
fn old4(link: &Link, kind: RecordKind, group: Ipv4Addr) -> TxFrame {
    let (kind, to) = match kind {
        RecordKind::ToInclude => (igmp::LEAVE_V2, igmp::ALL_ROUTERS),
        _ => (igmp::REPORT_V2, group),
    };
    let mut body = vec![0; igmp::V2_LEN];
    igmp::emit_v2(kind, group, &mut body);
    frame4(link, to, body)
}

/// RFC 2710 §4.
fn old6(link: &Link, kind: RecordKind, group: Ipv6Addr) -> TxFrame {
    let (kind, to) = match kind {
        RecordKind::ToInclude => (mld::DONE_V1, ipv6::ALL_ROUTERS),
        _ => (mld::REPORT_V1, group),
    };
    let mut body = vec![0; mld::V1_LEN];
    mld::emit_v1(kind, group, &mut body);
    frame6(link, to, body)
}

fn frame4(link: &Link, destination: Ipv4Addr, mut body: Vec<u8>) -> TxFrame {
    let sum = checksum::checksum(&body);
    body[igmp::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    let source = match link.asker(destination.into()) {
        Some(IpAddr::V4(address)) => address,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let header_len = ipv4::header_len(ALERT4.len());
    let header = ipv4::Header {
        header_len: header_len as u8,
        tos: TOS,
        total_len: (header_len + body.len()) as u16,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 1,
        protocol: igmp::PROTOCOL,
        checksum: 0,
        source,
        destination,
    };
    let mut frame = TxFrame::default();
    let out = frame.head.prepend(header_len);
    header.emit(&ALERT4, out);
    let sum = checksum::checksum(out);
    out[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    frame.payload.push(body.into());
    let station = MacAddr::from_ipv4_group(destination);
    link.put_header(&mut frame, station, TYPE_IPV4);
    frame
}

fn frame6(link: &Link, destination: Ipv6Addr, mut body: Vec<u8>) -> TxFrame {
    // Only link-local addresses are believed, or none at all (RFC 3810 §5.2.13).
    let source = match link.asker(ipv6::ALL_NODES.into()) {
        Some(IpAddr::V6(address)) if address.is_unicast_link_local() => address,
        _ => Ipv6Addr::UNSPECIFIED,
    };
    let (from, to) = (source.into(), destination.into());
    let pseudo = checksum::pseudo_header(from, to, ipv6::NEXT_ICMPV6, body.len());
    let sum = !checksum::combine(pseudo, checksum::sum(&body), false);
    body[mld::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: (ALERT6.len() + body.len()) as u16,
        next_header: ipv6::NEXT_HOP_BY_HOP,
        hop_limit: 1,
        source,
        destination,
    };
    let mut frame = TxFrame::default();
    frame.head.prepend(ALERT6.len()).copy_from_slice(&ALERT6);
    header.emit(frame.head.prepend(ipv6::HEADER_LEN));
    frame.payload.push(body.into());
    let station = MacAddr::from_ipv6_group(destination);
    link.put_header(&mut frame, station, TYPE_IPV6);
    frame
}
