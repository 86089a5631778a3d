//! A host's service: the stack on one side, the replica on the other. The stack's gate and permit are here,
//! and what a new view means for it: taking over, or falling silent.
//!
//! Locks: the replica's may be taken with a connection's held, and is never held while a connection is
//! touched. Messages are sent with it held, so that they leave in the order of their entries.

mod serving;
mod telling;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::serving::Takeover;
use self::serving::{ANNOUNCE_EVERY, ANNOUNCEMENTS};
use super::carrier::Carrier;
use super::door::Door;
use super::entry::Reason;
use super::membership::Lease;
use super::message::{Message, Stand};
use super::primary::{Held, Standing};
use super::replica::{Effects, Replica, Role};
use super::status::Status;
use super::view::{Epoch, HostId, View};
use crate::engine::{Permit, Stack, WeakStack};
use crate::ip::RxPacket;
use crate::tcp::gate::{Commit, Decision, Gate};
use crate::tcp::{Connection, FourTuple};
use crate::time::Instant;

/// The service of this host.
pub struct Service {
    me: HostId,
    peer: HostId,
    carrier: Arc<dyn Carrier>,
    door: Arc<Door>,
    pub(crate) replica: Mutex<Replica>,
    /// What the peer says is taken in and passed on to applications in one order, whichever channel it came
    /// by.
    order: Mutex<()>,
    /// Datagrams that the host sent on that had the service before, until this one has it.
    arrivals: Mutex<Vec<RxPacket>>,
    stack: OnceLock<WeakStack>,
    /// What to add to our clock to have the peer's, in nanoseconds.
    peer_clock_ns: AtomicI64,
    /// When the backup was told last where peers stand.
    hinted_ns: AtomicU64,
    /// The time of the last call, for what has none.
    now_ns: AtomicU64,
    pub(crate) takeover: Mutex<Option<Takeover>>,
    join: AtomicBool,
    /// The peer's copy is complete, and the view does not say so yet. Known without the replica's lock, which the data
    /// path holds: heartbeats wait for whoever asks.
    wants_join: AtomicBool,
    /// Where the readers were when this host began to hand over, and where its connections stood when it was silent.
    parting: Mutex<(Vec<u64>, Vec<Stand>)>,
}

impl Service {
    /// The service of host `me`, which has `peer` beside it; most bytes that all journals may take; the lease
    /// without which nothing leaves.
    #[must_use]
    pub fn new(
        me: HostId,
        peer: HostId,
        journal_bytes: usize,
        lease: Arc<Lease>,
        carrier: Arc<dyn Carrier>,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            peer,
            door: Arc::new(Door::new(lease, Arc::clone(&carrier), peer)),
            carrier,
            replica: Mutex::new(Replica::new(me, journal_bytes)),
            order: Mutex::new(()),
            arrivals: Mutex::default(),
            stack: OnceLock::new(),
            peer_clock_ns: AtomicI64::new(0),
            hinted_ns: AtomicU64::new(0),
            now_ns: AtomicU64::new(0),
            takeover: Mutex::new(None),
            join: AtomicBool::new(false),
            wants_join: AtomicBool::new(false),
            parting: Mutex::default(),
        })
    }

    /// For the stack's configuration: when it may send and receive.
    #[must_use]
    pub fn permit(&self) -> Arc<dyn Permit> {
        Arc::clone(&self.door) as Arc<dyn Permit>
    }

    /// The stack whose gate and permit this is.
    pub fn attach(&self, stack: &Stack) {
        // A second one would be a mistake of the caller; the first stays.
        let _ = self.stack.set(stack.downgrade());
    }

    fn stack(&self) -> Option<Stack> {
        self.stack.get().and_then(WeakStack::upgrade)
    }

    /// What to add to our clock to have the peer's.
    pub fn peer_clock(&self, offset_ns: i64) {
        self.peer_clock_ns.store(offset_ns, Ordering::Relaxed);
        // Both hosts count by the clock of the one that comes first.
        if self.peer.0 < self.me.0
            && let Some(stack) = self.stack()
        {
            let tcp = &stack.core().tcp;
            tcp.share_cookie_clock(offset_ns / 1_000_000);
        }
    }

    /// The peer's process is another one.
    pub(super) fn peer_restarted(&self, now: Instant) {
        self.with(now, Replica::peer_restarted);
    }

    /// The view names no backup, and none was asked for.
    pub(super) fn stand_alone(&self, now: Instant) {
        self.with(now, Replica::left_alone);
    }

    /// The peer's copy is complete, and the view has been asked to say so.
    pub(in crate::replication) fn wants_join(&self) -> bool {
        self.wants_join.load(Ordering::Acquire)
    }

    /// True once after the peer's copy became complete: the view should say so.
    pub fn take_join(&self) -> bool {
        self.join.swap(false, Ordering::AcqRel)
    }

    /// Runs `call` on the replica and does what follows.
    fn with<T>(&self, now: Instant, call: impl FnOnce(&mut Replica, &mut Effects) -> T) -> T {
        self.now_ns.fetch_max(now.as_nanos(), Ordering::Relaxed);
        let mut effects = Effects::default();
        let result = {
            let mut replica = self.replica.lock();
            let result = call(&mut replica, &mut effects);
            self.wants_join
                .store(replica.wants_join(), Ordering::Release);
            self.send(&mut effects);
            result
        };
        if effects.join {
            self.join.store(true, Ordering::Release);
        }
        self.release(effects.released);
        self.tell(now, effects.news);
        result
    }

    fn send(&self, effects: &mut Effects) {
        for (channel, message) in effects.send.drain(..) {
            self.carrier.send(self.peer, channel, message);
        }
    }

    /// Connections whose commits were applied go on.
    fn release(&self, released: Vec<Held>) {
        if released.is_empty() {
            return;
        }
        let Some(stack) = self.stack() else {
            return;
        };
        let tcp = &stack.core().tcp;
        let mut ready: Vec<Arc<Connection>> = Vec::new();
        for held in released {
            let Some(connection) = tcp.connection(&held.id) else {
                continue;
            };
            let mut tcb = connection.tcb.lock();
            // Another connection may have the name by now.
            if tcb.gate_number() != held.number {
                continue;
            }
            tcb.commit(&held.commit);
            drop(tcb);
            ready.push(connection);
        }
        stack.runtime().output_all(&ready);
    }

    /// A message of the peer about the log.
    pub fn receive(&self, now: Instant, message: Message) {
        if let Message::Forward(packet) = message {
            self.arrived(packet);
            return;
        }
        let _in_order = self.order.lock();
        self.with(now, |replica, effects| {
            replica.receive(now, message, effects);
        });
    }

    /// What is for this host comes to the other one as well.
    pub(super) fn both_hear(&self) {
        self.door.both_hear();
    }

    /// The peer is alive.
    pub(super) fn heard_peer(&self, now: Instant) {
        self.door.overheard.lock().heard(now);
    }

    /// Whoever serves announces its addresses again: somebody else may have used them.
    pub(super) fn claim(&self) {
        if self.door.is_open()
            && let Some(stack) = self.stack()
        {
            stack.announce(ANNOUNCEMENTS, ANNOUNCE_EVERY);
        }
    }

    /// A message that could not be read.
    pub fn malformed(&self) {
        self.replica.lock().refusals.malformed += 1;
    }

    /// The ordered channels to the peer came up or broke.
    pub fn connected(&self, now: Instant, connected: bool) {
        self.with(now, |replica, effects| {
            replica.connected(now, connected, effects);
        });
    }

    /// Does what is due.
    pub fn poll(&self, now: Instant) {
        self.hint(now);
        self.with(now, |replica, effects| replica.poll(now, effects));
    }

    /// When [`Self::poll`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.replica.lock().next_deadline()
    }

    /// How long effects have waited for a peer that the view calls in sync.
    pub fn waiting(&self, now: Instant) -> Option<Duration> {
        self.replica.lock().waiting(now)
    }

    /// This host did nothing for so long.
    pub(super) fn stood_still(&self, duration: Duration) {
        self.replica.lock().stood_still(duration);
    }

    /// A planned handover begins: nothing more is said from now on, and what arrives goes to the peer, until a
    /// view says who serves, or for `at_most`.
    pub fn begin_handover(&self, now: Instant, at_most: Duration) {
        self.door.forward_until(now + at_most);
        self.door.drain();
        let turns = self.stack().map(|stack| stack.runtime().turns());
        *self.parting.lock() = (turns.unwrap_or_default(), Vec::new());
    }

    /// True once all that had arrived has been asked to be committed, and all that had been built has left: from then on
    /// nothing leaves.
    pub(super) fn fall_silent(&self) -> bool {
        let Some(stack) = self.stack() else {
            return false;
        };
        let mut parting = self.parting.lock();
        if !stack.runtime().is_past(&parting.0) {
            return false;
        }
        self.door.close();
        parting.1 = self.stands();
        true
    }

    /// True once the peer has applied everything, and knows where connections stand: from then on nothing more is
    /// written, until a view says who serves, or the handover ends.
    pub(super) fn stop(&self) -> bool {
        self.replica.lock().stop()
    }

    /// The handover did not come about: this host goes on.
    pub fn end_handover(&self, now: Instant) {
        let role = self.with(now, |replica, effects| {
            replica.go_on(effects);
            replica.role
        });
        if role == Role::Primary {
            self.door.open();
            self.speak();
        }
    }

    /// This host has taken over, and is not about to hand over.
    pub(super) fn is_open(&self) -> bool {
        self.door.is_open()
    }

    /// This host is not, or may not be, the primary any more: nothing leaves from now on.
    pub fn close(&self) {
        self.door.close();
    }

    /// The newest view that was taken up.
    #[must_use]
    pub fn current_view(&self) -> View {
        self.replica.lock().view
    }

    /// The newest epoch in which another host spoke as one that serves.
    #[must_use]
    pub fn heard_epoch(&self) -> Epoch {
        self.replica.lock().heard_epoch
    }

    /// The last takeover by this host.
    #[must_use]
    pub fn last_takeover(&self) -> Option<Takeover> {
        *self.takeover.lock()
    }

    /// What is known now.
    #[must_use]
    pub fn status(&self) -> Status {
        let takeover = *self.takeover.lock();
        Status {
            takeover,
            ..self.replica.lock().status()
        }
    }

    /// Why a connection would not survive this host.
    pub fn lost(&self, number: u64) -> Option<Reason> {
        let replica = self.replica.lock();
        if !matches!(replica.standing, Standing::Synced) {
            return Some(Reason::NoBackup);
        }
        replica.journals.lost(number)
    }
}

impl Gate for Service {
    fn enrol(&self) -> u64 {
        self.replica.lock().journals.enrol()
    }

    fn request(&self, id: &FourTuple, number: u64, commit: &Commit) -> Decision {
        let mut replica = self.replica.lock();
        let decision = replica.request(id, number, commit);
        if replica.is_batch_full() {
            let now = Instant::from_nanos(self.now_ns.load(Ordering::Relaxed));
            let mut effects = Effects::default();
            replica.flush(now, &mut effects);
            self.send(&mut effects);
        }
        decision
    }

    fn flush(&self, now: Instant) {
        self.now_ns.fetch_max(now.as_nanos(), Ordering::Relaxed);
        let mut effects = Effects::default();
        let mut replica = self.replica.lock();
        replica.flush(now, &mut effects);
        self.send(&mut effects);
    }

    fn exposed(&self, number: u64) -> Option<Reason> {
        self.lost(number)
    }

    fn forget(&self, number: u64) {
        // Behind a closed door the peer has not heard of the end: whoever takes over tells it.
        if self.door.is_open() {
            let now = Instant::from_nanos(self.now_ns.load(Ordering::Relaxed));
            self.replica.lock().forget(now, number);
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
