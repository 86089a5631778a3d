//! What the link layer is told at the start.

use std::time::Duration;

use outlive_driver::Capabilities;

use crate::wire::ethernet::MacAddr;

/// VLAN, neighbours and claims.
#[derive(Clone, Debug)]
pub struct Config {
    /// The VLAN that frames belong to, 1 to 4094; none for untagged frames.
    pub vlan: Option<u16>,
    /// Time-outs and bounds of the neighbour cache.
    pub neighbours: NeighbourLimits,
    /// How our addresses are claimed and defended.
    pub conflict: ConflictTimes,
    /// Our station, if not the one that the device names.
    pub station: Option<MacAddr>,
    /// Another host may take our addresses over, with the same station: a frame that comes from our own
    /// station means that it is not silent, and we announce ourselves again.
    pub shared: bool,
    /// What frames say that they come from, if not our station. A network that never sees our station as a source
    /// never learns where it is, and brings what is for it to everybody: to all hosts that share it.
    pub source: Option<MacAddr>,
    /// Tell routers and switches which groups we listen to (IGMP, MLD).
    pub tell_groups: bool,
    /// Listen to IPv6 routers: which of them lead out, which networks are on the link, and addresses that
    /// we make for ourselves (RFC 4862 §5.5).
    pub autoconfigure: bool,
    /// What these addresses are made with, so that they stay the same (RFC 7217); made up at every start if
    /// not given.
    pub stable_secret: Option<[u8; 16]>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vlan: None,
            neighbours: NeighbourLimits::default(),
            conflict: ConflictTimes::default(),
            station: None,
            shared: false,
            source: None,
            tell_groups: true,
            autoconfigure: false,
            stable_secret: None,
        }
    }
}

impl Config {
    /// Our station on a device with `capabilities`.
    #[must_use]
    pub fn station_on(&self, capabilities: &Capabilities) -> Option<MacAddr> {
        self.station.or(capabilities.mac.map(MacAddr))
    }
}

/// Time-outs and bounds of the neighbour cache (RFC 1122 §2.3.2, RFC 4861 §10).
#[derive(Clone, Debug)]
pub struct NeighbourLimits {
    /// Neighbours remembered.
    pub entries: usize,
    /// Neighbours remembered only because they asked for us.
    pub acquaintances: usize,
    /// How long an answer to ARP is believed; after that the neighbour is asked again, by unicast, while it
    /// is still used.
    pub believe_for: Duration,
    /// The same in IPv6 (REACHABLE_TIME), unless a router says otherwise.
    pub reachable_for: Duration,
    /// How long an IPv6 neighbour that is used again has to show that it is there before it is asked
    /// (DELAY_FIRST_PROBE_TIME).
    pub delay_probe: Duration,
    /// Time between questions to or about one neighbour (RFC 1122 §2.3.2.1: at most one per second).
    pub ask_every: Duration,
    /// Questions without answer before a neighbour counts as unreachable.
    pub questions: u32,
    /// How long it is not asked again then, and packets for it are dropped.
    pub give_up_for: Duration,
    /// Packets kept for one neighbour until it answers; the oldest makes room.
    pub packets_per_neighbour: usize,
    /// Packets kept for all of them.
    pub packets: usize,
    /// Questions per second about all neighbours.
    pub questions_per_second: u32,
}

/// What to do when another station uses one of our addresses (RFC 5227 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// Announce it, at most once in ten seconds, and keep it: for a server (c).
    Always,
    /// Announce it once; give it up if that does not help within ten seconds (b).
    Once,
    /// Give it up (a).
    Never,
}

/// How our addresses are claimed and defended (RFC 5227, RFC 4862 §5.4).
#[derive(Clone, Debug)]
pub struct ConflictTimes {
    /// Ask for an IPv4 address before using it. Takes four to seven seconds; without it the address is
    /// announced and used at once.
    pub probe: bool,
    /// How often to ask for an IPv6 address before using it (DupAddrDetectTransmits); 0 to use it at once.
    /// An address that another host may have too ([`Config::shared`]) is never asked for.
    pub duplicate_detections: u32,
    /// Announcements when an address is taken (ANNOUNCE_NUM); 0 for silence.
    pub announcements: u32,
    /// Time between announcements (ANNOUNCE_INTERVAL).
    pub announce_every: Duration,
    /// What to do about another station with our address.
    pub defence: Defence,
}

impl Default for NeighbourLimits {
    fn default() -> Self {
        Self {
            entries: 1024,
            acquaintances: 256,
            believe_for: Duration::from_secs(60),
            reachable_for: Duration::from_secs(30),
            delay_probe: Duration::from_secs(5),
            ask_every: Duration::from_secs(1),
            questions: 3,
            give_up_for: Duration::from_secs(1),
            packets_per_neighbour: 32,
            packets: 1024,
            questions_per_second: 500,
        }
    }
}

impl Default for ConflictTimes {
    fn default() -> Self {
        Self {
            probe: false,
            duplicate_detections: 1,
            announcements: 2,
            announce_every: Duration::from_secs(2),
            defence: Defence::Always,
        }
    }
}
