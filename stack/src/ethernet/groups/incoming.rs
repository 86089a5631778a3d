//! Queries of routers (RFC 3376 §4.1, RFC 3810 §5.1).

use std::time::Duration;

use crate::checksum;
use crate::counters::Counter;
use crate::ethernet::Link;
use crate::time::Instant;
use crate::wire::ethernet::{MacAddr, TYPE_IPV4, TYPE_IPV6};
use crate::wire::ipv6_extension as extension;
use crate::wire::{Malformed, igmp, ipv4, ipv6, mld};

const PROTOCOL_AT: usize = 9;

/// Where the type of a listener query stands: behind a hop-by-hop options header of the least size.
const MLD_AT: usize = ipv6::HEADER_LEN + 8;

/// True for datagrams that are about groups: all of IGMP, queries for listeners.
pub(in crate::ethernet) fn is_query(ether_type: u16, datagram: &[u8]) -> bool {
    match ether_type {
        TYPE_IPV4 => datagram.get(PROTOCOL_AT) == Some(&igmp::PROTOCOL),
        TYPE_IPV6 => {
            datagram.get(ipv6::NEXT_HEADER_OFFSET) == Some(&ipv6::NEXT_HOP_BY_HOP)
                && datagram.get(ipv6::HEADER_LEN) == Some(&ipv6::NEXT_ICMPV6)
                && datagram.get(MLD_AT) == Some(&mld::QUERY)
        }
        _ => false,
    }
}

impl Link {
    /// Takes a datagram that is about groups.
    pub(in crate::ethernet) fn hear_of_groups(
        &self,
        now: Instant,
        station: MacAddr,
        ether_type: u16,
        datagram: &[u8],
    ) {
        let heard = match ether_type {
            TYPE_IPV4 => self.igmp(now, datagram),
            _ => self.mld(now, datagram),
        };
        if heard.is_err() {
            self.counters
                .drop_packet(Counter::GroupDropMalformed, &station);
        }
    }

    fn igmp(&self, now: Instant, datagram: &[u8]) -> Result<(), Malformed> {
        let header = ipv4::parse(datagram)?;
        let header_len = usize::from(header.header_len);
        let body = &datagram[header_len..usize::from(header.total_len)];
        let intact = checksum::checksum(&datagram[..header_len]) == 0
            && checksum::checksum(body) == 0
            && !header.is_fragment();
        if !intact {
            return Err(Malformed::Value);
        }
        if body.first() != Some(&igmp::QUERY) {
            // Members of other hosts are none of our business.
            return Ok(());
        }
        let query = igmp::parse_query(body)?;
        let within = Duration::from_millis(query.max_response_ms.into());
        let group = query.group.map(Into::into);
        self.asked_of_groups(now, false, group, within, query.is_old);
        Ok(())
    }

    /// RFC 3810 §6.2: from a neighbour.
    fn mld(&self, now: Instant, datagram: &[u8]) -> Result<(), Malformed> {
        let header = ipv6::parse(datagram)?;
        let payload = &datagram[ipv6::HEADER_LEN..][..usize::from(header.payload_len)];
        let options = extension::parse(payload)?;
        let body = &payload[options.len..];
        let alerted = extension::options(options.content)
            .flatten()
            .any(|(kind, ..)| kind == extension::OPTION_ROUTER_ALERT);
        let (from, to) = (header.source.into(), header.destination.into());
        let pseudo = checksum::pseudo_header(from, to, ipv6::NEXT_ICMPV6, body.len());
        let intact = checksum::combine(pseudo, checksum::sum(body), false) == 0xffff;
        let near = header.hop_limit == 1 && header.source.is_unicast_link_local();
        if !(alerted && intact && near) {
            return Err(Malformed::Value);
        }
        let query = mld::parse_query(body)?;
        let within = Duration::from_millis(query.max_response_ms.into());
        let group = query.group.map(Into::into);
        self.asked_of_groups(now, true, group, within, query.is_v1);
        Ok(())
    }
}
