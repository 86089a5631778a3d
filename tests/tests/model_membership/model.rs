//! What can happen, one step at a time. The rules are the real ones (`voter`, `candidate`, `lease`); here is only what ties them
//! together, as `Membership` does, and an abstract commit: entries go to the backup, an ACK covers what all that are in sync have.

use std::sync::Arc;

use outlive::replication::membership::voter::Voter;
use outlive::replication::membership::{Arbitration, Ballot, Durable, Incarnation};
use outlive::replication::view::{Epoch, HostId, HostSet, View};
use outlive::time::Instant;
use stateright::{Model, Property};

use crate::mutation::Mutation;
use crate::state::{Copy, Host, LEASE, Life, NOW, Network, Packet, State, WITNESS};

/// How far the checker looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Highest epoch.
    pub(crate) epochs: u64,
    /// Crashes of any process, each followed by a restart some time or never.
    pub(crate) crashes: u8,
    /// Restarts at which the memory is lost.
    pub(crate) forgets: u8,
    /// Planned handovers.
    pub(crate) releases: u8,
    /// Entries: the record and bytes.
    pub(crate) entries: u8,
}

/// Two servers and, perhaps, a witness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) bounds: Bounds,
    pub(crate) mutation: Mutation,
    pub(crate) arbitration: Arbitration,
    /// In a bare pair: both paths may be dead while the peer is not.
    pub(crate) partition: bool,
}

/// What a server may propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Promotion,
    Solo,
    Join,
    Afresh,
}

/// One step of one host or of the world. A host that is paused is one that takes none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Tick,
    Deliver(Arc<Packet>),
    /// A heartbeat or a refusal: one host hears what another accepted last.
    Hear {
        me: HostId,
        from: HostId,
    },
    /// A primary hears what its backup has.
    Applied(HostId),
    Crash(HostId),
    Restart {
        host: HostId,
        forgets: bool,
    },
    Propose(HostId, Wish),
    /// A renewal and its answer, at once: with a lease of one tick, those that come later are no use.
    Renew {
        me: HostId,
        voter: HostId,
    },
    Release(HostId),
    /// The arbitration stands in for the peer's vote.
    StandIn(HostId),
    Receive(HostId),
    SendEntries(HostId),
    SendSnapshot(HostId),
    /// The check of a batch, directly before it leaves; or so one hopes.
    Check(HostId),
    /// The batch leaves.
    Leave(HostId),
}

impl Group {
    pub(crate) fn voters(&self) -> HostSet {
        match self.arbitration {
            Arbitration::Witness => HostSet::SERVERS.with(WITNESS),
            _ => HostSet::SERVERS,
        }
    }

    pub(crate) fn start_voter(&self, me: HostId, durable: Durable) -> Voter {
        let lease = match self.mutation {
            Mutation::NoWaitAfterRestart => std::time::Duration::ZERO,
            _ => LEASE,
        };
        let mut durable = durable;
        if self.mutation == Mutation::NoWaitAfterRestart {
            durable.longest_lease = lease;
        }
        durable.complete |= self.mutation == Mutation::VoteWithoutMemory;
        Voter::start(NOW, self.voters().without(me), durable, lease)
    }

    pub(crate) fn life(&self, me: HostId, durable: Durable, incarnation: Incarnation) -> Life {
        Life {
            incarnation,
            voter: self.start_voter(me, durable),
            peer: Incarnation(0),
            lease_until: Instant::ZERO,
            void_until: None,
            released: None,
            acting: None,
            overtaken: Epoch::NONE,
            pending: None,
            obliged: HostSet::EMPTY,
            copy: None,
            known: durable.newest.epoch(),
            log: None,
            session: None,
            applied: None,
        }
    }

    /// Both servers in sync, host 0 primary, nothing received yet.
    pub(crate) fn serving(&self) -> State {
        let newest = Ballot {
            view: View {
                epoch: Epoch(2),
                primary: HostId(0),
                in_sync: HostSet::SERVERS,
            },
            base: Epoch(0),
            incarnations: [Incarnation(1); 2],
        };
        let stored = Durable {
            newest,
            complete: true,
            longest_lease: LEASE,
        };
        let host = |me: u8| {
            let mut life = self.life(HostId(me), stored, Incarnation(1));
            life.voter.age(NOW, LEASE);
            life.voter.decide_alone();
            if me < 2 {
                life.peer = Incarnation(1);
                life.copy = Some(Copy::default());
                life.applied = (me == 0).then_some(0);
                life.acting = (me == 0).then_some(newest.view.epoch);
                life.log = life.acting;
                life.session = (me == 1).then_some(newest.view.epoch);
            }
            Host {
                stored,
                lives: 1,
                life: Some(life),
                in_hand: None,
            }
        };
        State {
            hosts: [host(0), host(1), host(2)],
            network: Network::default(),
            acknowledged: Copy::default(),
            crashes: 0,
            forgotten: 0,
            releases: 0,
            promoted_wrongly: false,
        }
    }
}

/// Whoever may send has at least so many of what a client was told is safe.
fn sender_has(state: &State, entry: u8) -> bool {
    let told = state.acknowledged;
    state
        .servers()
        .filter(|life| life.holds_lease())
        .all(|life| {
            let has = life.copy.is_some_and(|copy| {
                copy.generation == told.generation && copy.entries >= told.entries.min(entry)
            });
            told.entries < entry || has
        })
}

impl Model for Group {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.serving()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.push(Step::Tick);
        for me in self.voters().iter() {
            let host = state.host(me);
            if host.life.is_none() {
                steps.push(Step::Restart {
                    host: me,
                    forgets: false,
                });
                if state.forgotten < self.bounds.forgets {
                    steps.push(Step::Restart {
                        host: me,
                        forgets: true,
                    });
                }
            } else if state.crashes < self.bounds.crashes {
                steps.push(Step::Crash(me));
            }
            for from in self.voters().without(me).iter() {
                steps.push(Step::Hear { me, from });
            }
            if me.is_server() {
                self.server_steps(state, me, steps);
            }
        }
        steps.extend(state.network.iter().cloned().map(Step::Deliver));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, &step);
        state.collect();
        // Also when nothing changed: the checker counts the steps to find a path again.
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("6: one lease", |_, state: &State| {
                state.servers().filter(|life| life.holds_lease()).count() <= 1
            }),
            Property::always(
                "3: the record is committed before its SYN-ACK",
                |_, state: &State| sender_has(state, 1),
            ),
            Property::always(
                "1: bytes are committed before their ACK",
                |_, state: &State| sender_has(state, 2),
            ),
            Property::always(
                "11: no host promotes itself without all",
                |_, state: &State| !state.promoted_wrongly,
            ),
            Property::sometimes("a backup takes over", |_, state: &State| {
                acts(state, |life| life.voter.newest().view.primary == HostId(1))
            }),
            Property::sometimes("a primary goes solo", |_, state: &State| {
                acts(state, |life| {
                    life.voter.newest().base == Epoch(2)
                        && life.voter.newest().view.primary == HostId(0)
                })
            }),
            Property::sometimes("a host joins", |_, state: &State| {
                acts(state, |life| {
                    life.voter.newest().epoch() > Epoch(2)
                        && life.voter.newest().view.in_sync == HostSet::SERVERS
                })
            }),
        ]
    }
}

fn acts(state: &State, so: impl Fn(&Life) -> bool) -> bool {
    state
        .servers()
        .any(|life| life.acting.is_some() && so(life))
}
