//! What happened, counted. Every reason to drop a packet has a name here; nothing is dropped without one.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One countable event. Names are `layer_what`; those of drops begin with `layer_drop`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// Every counter, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in summaries and exports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counters! {
    // Ethernet
    /// Frames received.
    EthernetRxFrames = "ethernet_rx_frames",
    /// Bytes received.
    EthernetRxBytes = "ethernet_rx_bytes",
    /// Frames handed to the device.
    EthernetTxFrames = "ethernet_tx_frames",
    /// Bytes handed to the device.
    EthernetTxBytes = "ethernet_tx_bytes",
    /// Shorter than its headers.
    EthernetDropTruncated = "ethernet_drop_truncated",
    /// An EtherType that is not spoken here.
    EthernetDropType = "ethernet_drop_type",
    /// Not for this station.
    EthernetDropForeign = "ethernet_drop_foreign",
    /// A VLAN that is not ours.
    EthernetDropVlan = "ethernet_drop_vlan",
    /// Malformed ARP.
    ArpDropMalformed = "arp_drop_malformed",
    /// ARP that claims one of our addresses, or makes no sense for our networks.
    ArpDropBogus = "arp_drop_bogus",
    /// Malformed neighbour discovery, or with a bad checksum.
    NdpDropMalformed = "ndp_drop_malformed",
    /// Neighbour discovery that claims one of our addresses, comes from afar, or makes no sense.
    NdpDropBogus = "ndp_drop_bogus",
    /// A claim on one of our IPv6 addresses by another station.
    NdpConflicts = "ndp_conflicts",
    /// Malformed queries about groups (IGMP, MLD), or from afar.
    GroupDropMalformed = "group_drop_malformed",
    /// Dropped because this host is not to receive: another one has the service.
    EthernetDropClosed = "ethernet_drop_closed",
    /// Frames that another host sent as our station, though it is ours now.
    EthernetStrayFrames = "ethernet_stray_frames",
    /// A claim on one of our addresses by another station (RFC 5227).
    ArpConflicts = "arp_conflicts",
    /// Packets dropped because a neighbour's queue was full or it did not answer.
    NeighbourDropUnresolved = "neighbour_drop_unresolved",
    /// Neighbour entries dropped to stay within the limit.
    NeighbourEvicted = "neighbour_evicted",
    /// Packets dropped on receipt because the next stage was behind.
    EthernetDropBehind = "ethernet_drop_behind",
    /// Frames withheld because permission to send was missing.
    EgressDropForbidden = "egress_drop_forbidden",
    /// Frames dropped because a queue was full.
    EgressDropFull = "egress_drop_full",

    // IP
    /// Datagrams received.
    IpRxDatagrams = "ip_rx_datagrams",
    /// Datagrams sent.
    IpTxDatagrams = "ip_tx_datagrams",
    /// Malformed header.
    IpDropMalformed = "ip_drop_malformed",
    /// Bad header checksum.
    IpDropChecksum = "ip_drop_checksum",
    /// Not for one of our addresses.
    IpDropForeign = "ip_drop_foreign",
    /// A source that cannot be one.
    IpDropSource = "ip_drop_source",
    /// An address family that is not spoken here.
    IpDropFamily = "ip_drop_family",
    /// Source routes, which are not honoured (RFC 7126 §4.3, RFC 5095).
    IpDropSourceRoute = "ip_drop_source_route",
    /// IPv6 extension headers that are too many, in the wrong place, or must be understood and are not.
    IpDropExtension = "ip_drop_extension",
    /// No one speaks that protocol.
    IpDropProtocol = "ip_drop_protocol",
    /// No route to the destination.
    IpDropNoRoute = "ip_drop_no_route",
    /// Too large, and fragmentation is forbidden.
    IpDropTooBig = "ip_drop_too_big",
    /// A fragment beyond the limits, overlapping or malformed.
    IpDropFragment = "ip_drop_fragment",
    /// Reassembly gave up.
    IpReassemblyTimeouts = "ip_reassembly_timeouts",
    /// Datagrams put together again.
    IpReassembled = "ip_reassembled",
    /// ICMP malformed or with a bad checksum.
    IcmpDropMalformed = "icmp_drop_malformed",
    /// ICMP of a type that is ignored.
    IcmpDropIgnored = "icmp_drop_ignored",
    /// ICMP errors not sent because of the rate limit.
    IcmpLimited = "icmp_limited",

    // UDP
    /// Datagrams received.
    UdpRxDatagrams = "udp_rx_datagrams",
    /// Datagrams sent.
    UdpTxDatagrams = "udp_tx_datagrams",
    /// Malformed header.
    UdpDropMalformed = "udp_drop_malformed",
    /// Bad checksum.
    UdpDropChecksum = "udp_drop_checksum",
    /// No socket there.
    UdpDropNoSocket = "udp_drop_no_socket",
    /// The socket's queue is full.
    UdpDropFull = "udp_drop_full",

    // TCP
    /// Segments received (a merged one counts once).
    TcpRxSegments = "tcp_rx_segments",
    /// Segments sent (one to be cut by the device counts once).
    TcpTxSegments = "tcp_tx_segments",
    /// Turns of connections in which no segment was built because permission to send was missing.
    TcpTurnsWithheld = "tcp_turns_withheld",
    /// Bytes sent again.
    TcpRetransmittedBytes = "tcp_retransmitted_bytes",
    /// Segments sent again.
    TcpRetransmittedSegments = "tcp_retransmitted_segments",
    /// Retransmission time-outs.
    TcpTimeouts = "tcp_timeouts",
    /// Tail loss probes (RFC 8985 §7).
    TcpTailLossProbes = "tcp_tail_loss_probes",
    /// Connections opened by us.
    TcpActiveOpens = "tcp_active_opens",
    /// Connections opened by peers.
    TcpPassiveOpens = "tcp_passive_opens",
    /// Connections that reached ESTABLISHED.
    TcpEstablished = "tcp_established",
    /// RST sent.
    TcpResetsSent = "tcp_resets_sent",
    /// Acceptable RST received.
    TcpResetsReceived = "tcp_resets_received",
    /// Challenge ACKs sent (RFC 5961).
    TcpChallengeAcks = "tcp_challenge_acks",
    /// Connections that left TIME-WAIT early, to stay within the limit.
    TcpTimeWaitEvicted = "tcp_time_wait_evicted",
    /// Bytes received out of order and forgotten for want of memory.
    TcpMemoryForgotten = "tcp_memory_forgotten",
    /// Connections ended for want of memory.
    TcpMemoryShed = "tcp_memory_shed",
    /// Connections accepted with the data of their SYN.
    TcpFastOpens = "tcp_fast_opens",
    /// Challenge ACKs not sent because their host had enough of them.
    TcpChallengesWithheld = "tcp_challenges_withheld",
    /// SYNs for which there was no room, answered with a cookie.
    TcpCookiesSent = "tcp_cookies_sent",
    /// Connections made of cookies that came back.
    TcpCookiesAccepted = "tcp_cookies_accepted",
    /// ACKs without a good cookie while some were expected.
    TcpCookiesRefused = "tcp_cookies_refused",
    /// Malformed header.
    TcpDropMalformed = "tcp_drop_malformed",
    /// Bad checksum.
    TcpDropChecksum = "tcp_drop_checksum",
    /// Nobody there: answered with RST.
    TcpDropNoConnection = "tcp_drop_no_connection",
    /// Nobody there, but perhaps somebody was before a takeover: answered with silence.
    TcpDropAfterTakeover = "tcp_drop_after_takeover",
    /// Connections taken over from another host.
    TcpAdopted = "tcp_adopted",
    /// Connections of another host that an application follows along here.
    TcpFollowed = "tcp_followed",
    /// Connections left to another host.
    TcpSurrendered = "tcp_surrendered",
    /// A source or destination that TCP never talks to (broadcast, multicast, itself).
    TcpDropAddress = "tcp_drop_address",
    /// SYN dropped because the SYN queue is full.
    TcpDropSynQueue = "tcp_drop_syn_queue",
    /// Handshake not completed because the accept queue is full.
    TcpDropAcceptQueue = "tcp_drop_accept_queue",
    /// ACK that completes a handshake without data, where the listener waits for some.
    TcpDropDeferred = "tcp_drop_deferred",
    /// Rejected by timestamp (RFC 7323 PAWS).
    TcpDropPaws = "tcp_drop_paws",
    /// Outside the window.
    TcpDropWindow = "tcp_drop_window",
    /// In no acceptable order for the state.
    TcpDropState = "tcp_drop_state",
    /// Beyond what may be held out of order.
    TcpDropMemory = "tcp_drop_memory",
    /// Connections aborted because the application did not repeat what another host had sent.
    ReplicationDiverged = "replication_diverged",
}

/// All counters of one stack.
#[derive(Debug)]
pub struct Counters {
    values: [AtomicU64; Counter::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            values: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `amount`.
    pub fn add(&self, counter: Counter, amount: u64) {
        self.values[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// Counts a dropped packet and logs it at debug with `detail`.
    pub fn drop_packet(&self, counter: Counter, detail: &dyn std::fmt::Debug) {
        self.count(counter);
        tracing::debug!(reason = counter.name(), ?detail, "dropped");
    }

    /// The present value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }

    /// Name and value of every counter that is not zero.
    pub fn non_zero(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL
            .iter()
            .map(|&counter| (counter.name(), self.get(counter)))
            .filter(|&(_, value)| value > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_listed() {
        let counters = Counters::default();
        counters.count(Counter::IpDropForeign);
        counters.add(Counter::TcpRetransmittedBytes, 7);
        let listed: Vec<_> = counters.non_zero().collect();
        assert_eq!(
            listed,
            [("ip_drop_foreign", 1), ("tcp_retransmitted_bytes", 7)]
        );
    }
}
