//! What judges every frame on the service network. Both servers are one host to it: the rules of the
//! [`Watcher`] (ACK numbers, right edges and TSval never go back, a byte sent again is the same byte, nothing is
//! acknowledged that did not arrive) hold across takeovers.
//!
//! Besides: no RST but for a connection whose script has one, or that both ends had closed; after a takeover nothing but SYN-ACKs and segments that are empty or one old
//! byte, before the client was heard; no ACK beyond what the backup has (FAILOVER §7: 1, 9, 12).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use outlive_driver::Instant;

use super::calling::Record;
use crate::decode::{Decoded, Segment, decode, name_of};
use crate::simulation::watcher::{Sender, Watcher};

/// What a host overheard so shortly before it took over may help it.
const OVERHEARD_FOR: Duration = Duration::from_secs(1);

/// How long a frame may wait until it is known where the next hop is: three questions, a second each.
const WAITS_AT_MOST: Duration = Duration::from_secs(3);

/// Sees all frames.
#[derive(Default)]
pub struct Oracle {
    watcher: Watcher,
    fused: bool,
    complaints: Vec<String>,
    may_reset: Vec<Record>,
    /// RSTs for connections that both ends had closed in order.
    pub resets_after_the_end: u64,
    /// Clients that the present owner has heard since it took over.
    heard: BTreeMap<SocketAddrV4, Instant>,
    /// Clients that it overheard shortly before, so that it may know where they are.
    guessed: BTreeSet<SocketAddrV4>,
    /// The network brings everything to both hosts, and who is silent keeps it.
    flooded: bool,
    /// It was told by the former owner where they are.
    moved: bool,
    /// Who a host that owns nothing has overheard, and when last.
    overheard: BTreeMap<(usize, SocketAddrV4), Instant>,
    /// Connections from before the takeover.
    inherited: BTreeSet<SocketAddrV4>,
    /// All clients ever seen.
    clients: BTreeSet<SocketAddrV4>,
    /// Up to where the backup has each client's stream, as a sequence number.
    committed: BTreeMap<SocketAddrV4, u32>,
    /// Segments whose ACK was held against that.
    pub acks_checked: u64,
}

/// A frame of a server on its way out.
pub(super) struct Leaving<'a> {
    pub(super) frame: &'a [u8],
    pub(super) mtu: usize,
    /// When.
    pub(super) now: Instant,
    /// Held to every rule.
    pub(super) strict: bool,
    /// The sender has lost frames that waited for a neighbour.
    pub(super) loses: bool,
    /// Its sender owns the service address.
    pub(super) owner: bool,
    /// The backup is in sync, so that what is acknowledged has to be with it.
    pub(super) replicated: bool,
}

impl Oracle {
    /// Looks at no frame any more: for transfers beyond what the watcher can keep.
    pub fn set_fused(&mut self) {
        self.fused = true;
    }

    pub(super) const fn is_fused(&self) -> bool {
        self.fused
    }

    /// Whoever is silent keeps what the network brings to it, and goes on from that.
    pub fn set_flooded(&mut self) {
        self.flooded = true;
    }

    /// This connection may be aborted.
    pub fn allow_reset(&mut self, connection: Record) {
        self.may_reset.push(connection);
    }

    /// What is on the wires.
    #[must_use]
    pub const fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// What was noted without ending the run at once.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    pub(super) fn blame(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// Another host owns the service address, and knows of the clients only what was replicated; or, if `moved`, all.
    pub(super) fn taken_over(&mut self, now: Instant, host: usize, moved: bool) {
        self.inherited.clone_from(&self.clients);
        self.moved = moved;
        let recent = |at: Instant| now.since(at) <= OVERHEARD_FOR;
        let overheard = self.overheard.iter();
        let overheard = overheard.filter(|((by, _), at)| *by == host && recent(**at));
        self.guessed = overheard.map(|((_, client), _)| *client).collect();
        self.heard = BTreeMap::new();
        self.overheard.clear();
    }

    /// The backup has the stream of `client` up to this sequence number, or more.
    pub fn committed(&mut self, client: SocketAddrV4, upto: u32) {
        let known = self.committed.entry(client).or_insert(upto);
        if upto.wrapping_sub(*known) as i32 > 0 {
            *known = upto;
        }
    }

    /// It has a new connection of `client`, whose stream begins there.
    pub fn opened(&mut self, client: SocketAddrV4, begin: u32) {
        self.committed.insert(client, begin);
    }

    /// Nobody can say any more what the backup has.
    pub fn forget_commits(&mut self) {
        self.committed.clear();
    }

    /// A frame leaves a host.
    pub(super) fn sent(&mut self, leaving: &Leaving<'_>) -> Result<(), String> {
        let frame = leaving.frame;
        let stranger = match decode(frame) {
            Ok(Decoded::Tcp(segment)) => {
                leaving.owner && self.was_unheard(leaving.now, &segment.destination)
            }
            _ => false,
        };
        let sender = Sender {
            strict: leaving.strict,
            stranger,
            loses: leaving.loses,
        };
        self.watcher.sent_by(frame, leaving.mtu, sender)?;
        let Ok(Decoded::Tcp(segment)) = decode(frame) else {
            return Ok(());
        };
        let checked = if segment.rst {
            self.check_reset(&segment)
        } else if leaving.owner {
            self.check_hearing(&segment)
                .and_then(|()| self.check_commit(&segment, leaving.replicated))
        } else {
            Ok(())
        };
        checked.map_err(|what| format!("{what}: {}", segment.summary()))
    }

    fn check_reset(&mut self, segment: &Segment) -> Result<(), &'static str> {
        let ends = [segment.source, segment.destination];
        let allowed = |record: &Record| {
            let address = record.borrow().address;
            address.is_some_and(|address| ends.contains(&name_of(address)))
        };
        // A second ACK of a FIN meets a server that has forgotten the connection; so does its client.
        let ended = self.watcher.refuses_what_has_ended(segment);
        self.resets_after_the_end += u64::from(ended);
        if ended || self.may_reset.iter().any(allowed) {
            Ok(())
        } else {
            Err("a RST")
        }
    }

    /// The present owner has inherited the connection of `client`, and not heard it.
    fn is_unheard(&self, client: &SocketAddrV4) -> bool {
        self.inherited.contains(client) && !self.heard.contains_key(client)
    }

    /// That was so when a segment was built that may have waited for a neighbour since.
    fn was_unheard(&self, now: Instant, client: &SocketAddrV4) -> bool {
        let heard = self.heard.get(client);
        self.inherited.contains(client) && heard.is_none_or(|&at| now.since(at) <= WAITS_AT_MOST)
    }

    /// Before the new owner has heard a client it may only probe it.
    fn check_hearing(&mut self, segment: &Segment) -> Result<(), &'static str> {
        let client = &segment.destination;
        let unheard = self.is_unheard(client) && !self.guessed.contains(client);
        let says_something = !segment.payload.is_empty() || segment.fin;
        let probe = segment.payload.len() == 1 && self.watcher.is_old(segment);
        if unheard && says_something && !probe && !self.moved {
            return Err("more than a probe before the client was heard");
        }
        Ok(())
    }

    fn check_commit(&mut self, segment: &Segment, replicated: bool) -> Result<(), &'static str> {
        let committed = self.committed.get(&segment.destination);
        let (Some(&committed), Some(ack), true) = (committed, segment.ack, replicated) else {
            return Ok(());
        };
        self.acks_checked += 1;
        if ack.wrapping_sub(committed) as i32 > 0 {
            return Err("an ACK of what the backup does not have");
        }
        Ok(())
    }

    /// A frame reaches `host`; `owner`: it owns the service address.
    pub(super) fn arrived(&mut self, now: Instant, host: usize, frame: &[u8], owner: bool) {
        if self.fused {
            return;
        }
        self.watcher.arrived(frame);
        if !owner {
            if self.flooded
                && let Ok(Decoded::Tcp(segment)) = decode(frame)
                && !self.watcher.is_before(&segment)
            {
                self.overheard.insert((host, segment.source), now);
            }
            return;
        }
        if let Ok(Decoded::Tcp(segment)) = decode(frame) {
            if segment.syn {
                // Ports used again: another connection.
                self.committed.remove(&segment.source);
            }
            self.clients.insert(segment.source);
            if !self.watcher.is_before(&segment) {
                self.heard.entry(segment.source).or_insert(now);
            }
        }
    }
}
