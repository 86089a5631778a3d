//! What the model consists of: hosts, their memory, messages, and what a client was told.
//!
//! Time is relative: "now" is always [`NOW`], and a tick moves everything else into the past, where what is over
//! stays over. So the number of ticks is not bounded.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use outlive::replication::membership::candidate::{Candidate, Peer};
use outlive::replication::membership::message::Body;
use outlive::replication::membership::voter::Voter;
use outlive::replication::membership::{Ballot, Durable, Incarnation, Message};
use outlive::replication::view::{Epoch, HostId, HostSet};
use outlive::time::Instant;

/// The present.
pub(crate) const NOW: Instant = Instant::from_nanos(1);
/// The unit of time.
pub(crate) const TICK: Duration = Duration::from_nanos(1);
/// How long a grant lasts. Clocks do not drift here; that the drift bound suffices is tested with the lease.
pub(crate) const LEASE: Duration = TICK;

pub(crate) const WITNESS: HostId = HostId::WITNESS;

/// How much of the clients' input a server has. The first entry is the connection's record, the second its first byte. What
/// a client sends again is the same, so a number says it all. Another generation began without connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Copy {
    pub(crate) generation: u8,
    pub(crate) entries: u8,
}

/// What is on its way. Nothing is ever taken out: so it may be lost, late, repeated and overtaken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Packet {
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    /// The sender's life. The link gives every life a session of its own.
    pub(crate) life: Incarnation,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// The real messages.
    Membership(Message),
    /// All input so far, in the epoch of a primary, and of its log.
    Entries { place: [Epoch; 2], copy: Copy },
    /// For a joiner.
    Snapshot { place: [Epoch; 2], copy: Copy },
}

/// A set of packets, ordered by their hashes so that equal sets are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network(Vec<(u64, Arc<Packet>)>);

impl Network {
    pub(crate) fn insert(&mut self, packet: Packet) {
        let mut hasher = DefaultHasher::new();
        packet.hash(&mut hasher);
        let key = hasher.finish();
        if let Err(at) = self.0.binary_search_by_key(&key, |(key, _)| *key) {
            self.0.insert(at, (key, Arc::new(packet)));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Packet>> {
        self.0.iter().map(|(_, packet)| packet)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Packet) -> bool) {
        self.0.retain(|(_, packet)| keep(packet));
    }
}

impl Hash for Network {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.len().hash(hasher);
        self.0.iter().for_each(|(key, _)| key.hash(hasher));
    }
}

/// The process of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    pub(crate) incarnation: Incarnation,
    pub(crate) voter: Voter,
    /// The last known life of the peer; 0 for none. Older ones are refused. (Of the witness, everything is taken.)
    pub(crate) peer: Incarnation,
    /// End of its lease.
    pub(crate) lease_until: Instant,
    /// Grants for requests up to then are void.
    pub(crate) void_until: Option<Instant>,
    /// The peer released its lease of this epoch for us.
    pub(crate) released: Option<Epoch>,
    /// The epoch in which it is primary.
    pub(crate) acting: Option<Epoch>,
    /// Somebody else was voted for on that base.
    pub(crate) overtaken: Epoch,
    /// Proposed, not decided.
    pub(crate) pending: Option<Ballot>,
    /// Who may be in sync by what was proposed.
    pub(crate) obliged: HostSet,
    pub(crate) copy: Option<Copy>,
    /// The last decided view that it knew: a copy is dropped when a newer one leaves it out.
    pub(crate) known: Epoch,
    /// The log that it writes as primary: the epoch with which it began to serve.
    pub(crate) log: Option<Epoch>,
    /// The log of the last entries or snapshot that it took, while it is not primary.
    pub(crate) session: Option<Epoch>,
    /// What the peer has, as far as it said so.
    pub(crate) applied: Option<u8>,
}

impl Life {
    pub(crate) fn candidate(&self, me: HostId, peer_up: bool) -> Candidate<'_> {
        let peer_id = HostId(1 - me.0);
        Candidate {
            me,
            incarnation: self.incarnation,
            newest: self.voter.newest(),
            promised: self.voter.promised(),
            peer_id,
            peer: Peer {
                up: peer_up,
                incarnation: (self.peer.0 > 0).then_some(self.peer),
                released: self.released,
            },
        }
    }

    pub(crate) fn holds_lease(&self) -> bool {
        NOW < self.lease_until
    }
}

/// A host: what survives its process, and the process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    pub(crate) stored: Durable,
    pub(crate) lives: u64,
    pub(crate) life: Option<Life>,
    /// An acknowledgement that passed the check of its batch, and leaves some time; even after the process.
    pub(crate) in_hand: Option<Copy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) hosts: [Host; 3],
    pub(crate) network: Network,
    /// The highest acknowledgement that a client has seen.
    pub(crate) acknowledged: Copy,
    pub(crate) crashes: u8,
    pub(crate) forgotten: u8,
    pub(crate) releases: u8,
    /// A server became primary without what was acknowledged.
    pub(crate) promoted_wrongly: bool,
}

impl State {
    pub(crate) fn host(&self, id: HostId) -> &Host {
        &self.hosts[usize::from(id.0)]
    }

    pub(crate) fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[usize::from(id.0)]
    }

    pub(crate) fn life(&self, id: HostId) -> Option<&Life> {
        self.host(id).life.as_ref()
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Life> {
        self.hosts[..2].iter().filter_map(|host| host.life.as_ref())
    }

    /// Forgets what can never have an effect any more: it is about an epoch that its receiver knows to be over.
    pub(crate) fn collect(&mut self) {
        let known = [0, 1, 2].map(|host| {
            let life = self.hosts[host].life.as_ref();
            let decided = life.filter(|life| life.voter.is_decided());
            decided.map_or(Epoch::NONE, |life| life.voter.newest().epoch())
        });
        let followed = [0, 1].map(|host: usize| {
            let life = self.hosts[host].life.as_ref();
            life.and_then(|life| life.session)
        });
        self.network.retain(|packet| {
            let over = known[usize::from(packet.to.0)];
            match &packet.content {
                Content::Membership(message) => match message.body {
                    Body::Propose { ballot, .. } => ballot.epoch() > over,
                    Body::Release { epoch, .. } => epoch >= over,
                    _ => message.newest.epoch() > over,
                },
                Content::Entries { place, .. } => {
                    let [epoch, log] = *place;
                    epoch >= over || followed[usize::from(packet.to.0)] == Some(log)
                }
                Content::Snapshot { place, .. } => place[0] >= over,
            }
        });
    }

    /// Time passes for everybody.
    pub(crate) fn tick(&mut self) {
        let network = std::mem::take(&mut self.network);
        for packet in network.iter() {
            let mut packet = Packet::clone(packet);
            if let Content::Membership(message) = &mut packet.content {
                age_message(message);
            }
            self.network.insert(packet);
        }
        for life in self.hosts.iter_mut().filter_map(|host| host.life.as_mut()) {
            life.voter.age(NOW, TICK);
            if life.lease_until <= NOW + TICK {
                // It is over.
                life.lease_until = Instant::ZERO;
            }
            life.void_until = life.void_until.map(|until| until - TICK);
        }
    }
}

fn age_message(message: &mut Message) {
    match &mut message.body {
        Body::Propose { sent, .. }
        | Body::Renew { sent, .. }
        | Body::Grant { sent, .. }
        | Body::Release { sent, .. } => *sent = *sent - TICK,
        Body::Heartbeat(_) | Body::Refuse { .. } => {}
    }
}
