//! The rules of views, leases, commits and takeover (FAILOVER §6 and invariants 1, 3, 6, 11 of §7), checked exhaustively: two
//! servers and a witness with crashes, pauses of any length, batches that leave late, proposals, entries, snapshots and votes that
//! are lost, late, repeated and overtaken, going solo, joining, handover, restarts with and without memory.
//!
//! The bounds of each check stand beside it: the highest epoch (from 2, which is being served), how many crashes there may be in all,
//! and how many bytes are received. Time is not bounded. Each rule in turn is broken to see that the checker finds out.

mod commits;
mod leases;
mod model;
mod mutation;
mod proposals;
mod state;
mod steps;
mod votes;

use model::{Bounds, Group};
use mutation::Mutation;
use outlive::replication::membership::Arbitration;
use stateright::{Checker, HasDiscoveries, Model};

const BOUNDS: Bounds = Bounds {
    epochs: 4,
    crashes: 0,
    forgets: 0,
    releases: 0,
    entries: 1,
};

fn group(bounds: Bounds) -> Group {
    Group {
        bounds,
        mutation: Mutation::Correct,
        arbitration: Arbitration::Witness,
        partition: false,
    }
}

/// Explores everything; each invariant must hold, and each of `happens` must be seen, or the check says nothing.
fn holds(group: Group, happens: &[&'static str]) {
    let checker = group.checker().threads(2).spawn_bfs().join();
    println!(
        "{group:?}: {} states, {} different, {} steps deep",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    for (name, path) in checker.discoveries() {
        let invariant = name.starts_with(|c: char| c.is_ascii_digit());
        assert!(!invariant, "{name} is broken by {:#?}", path.into_actions());
    }
    for name in happens {
        assert!(checker.discovery(name).is_some(), "never: {name}");
    }
}

/// Explores until an invariant breaks, and says which and how.
fn counterexample(group: Group) -> Option<&'static str> {
    let checker = group
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let broken = found
        .into_iter()
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_digit()))
        .min_by_key(|(_, path)| path.clone().into_actions().len());
    broken.map(|(name, path)| {
        println!("{:?}: {name}", group.mutation);
        for step in path.into_actions() {
            println!("    {step:?}");
        }
        name
    })
}

const TAKEOVER: &str = "a backup takes over";
const SOLO: &str = "a primary goes solo";
const JOIN: &str = "a host joins";

/// Both servers, again and again: 190,000 different states.
#[test]
fn takeover_solo_and_rejoin() {
    let bounds = Bounds {
        epochs: 5,
        ..BOUNDS
    };
    holds(group(bounds), &[TAKEOVER, SOLO, JOIN]);
}

/// A record and a byte: invariant 3 apart from invariant 1.
#[test]
fn a_record_and_a_byte() {
    let bounds = Bounds {
        entries: 2,
        ..BOUNDS
    };
    holds(group(bounds), &[TAKEOVER, SOLO]);
}

/// Any process dies once and may come back: 350,000 different states.
#[test]
fn a_crash_and_going_solo() {
    let bounds = Bounds {
        crashes: 1,
        ..BOUNDS
    };
    holds(group(bounds), &[TAKEOVER, SOLO]);
}

/// Any two processes die, or one twice: 270,000 different states.
#[test]
fn a_double_failure() {
    let bounds = Bounds {
        epochs: 3,
        crashes: 2,
        ..BOUNDS
    };
    holds(group(bounds), &[TAKEOVER]);
}

/// A process dies and comes back without its memory: 100,000 different states.
#[test]
fn a_restart_without_memory() {
    let bounds = Bounds {
        epochs: 3,
        crashes: 1,
        forgets: 1,
        ..BOUNDS
    };
    holds(group(bounds), &[TAKEOVER]);
}

/// The lease is given up, while both may propose: 160,000 different states.
#[test]
fn a_handover() {
    let bounds = Bounds {
        releases: 1,
        ..BOUNDS
    };
    holds(group(bounds), &[TAKEOVER, SOLO]);
}

/// Without a witness, a confirmed fence in its place, which is one of two crashes.
#[test]
fn a_fence_in_place_of_the_witness() {
    let bounds = Bounds {
        crashes: 2,
        ..BOUNDS
    };
    let fence = Group {
        arbitration: Arbitration::Fence,
        ..group(bounds)
    };
    holds(fence, &[TAKEOVER, SOLO]);
}

/// A bare pair is safe as long as a host that is silent on both paths is dead.
#[test]
fn a_bare_pair_whose_paths_never_fail() {
    let bounds = Bounds {
        crashes: 1,
        ..BOUNDS
    };
    let pair = Group {
        arbitration: Arbitration::UnsafePair,
        ..group(bounds)
    };
    holds(pair, &[TAKEOVER, SOLO]);
}

/// The one partition that breaks it: the hosts are cut from each other, and both still reach the service network.
#[test]
fn the_partition_that_breaks_a_bare_pair() {
    let pair = Group {
        arbitration: Arbitration::UnsafePair,
        partition: true,
        ..group(BOUNDS)
    };
    assert!(counterexample(pair).is_some());
}

/// Each rule is needed: without it, the checker finds how something goes wrong.
fn is_caught(mutation: Mutation, bounds: Bounds) {
    let broken = Group {
        mutation,
        ..group(bounds)
    };
    let found = counterexample(broken);
    assert!(found.is_some(), "{mutation:?} goes unnoticed");
}

macro_rules! broken {
    ($($test:ident: $mutation:ident, $epochs:literal, $crashes:literal, $forgets:literal;)*) => {
        $(#[test]
        fn $test() {
            let bounds = Bounds {
                epochs: $epochs,
                crashes: $crashes,
                forgets: $forgets,
                ..BOUNDS
            };
            is_caught(Mutation::$mutation, bounds);
        })*
    };
}

broken! {
    without_waiting_for_a_grant: SkipGrantWait, 3, 0, 0;
    without_waiting_after_a_restart: NoWaitAfterRestart, 3, 1, 0;
    ack_before_commit: AckBeforeCommit, 3, 0, 0;
    promotion_outside_in_sync: PromoteOutsideInSync, 5, 0, 0;
    solo_before_a_majority_knows: SoloBeforeMajority, 4, 0, 0;
    joining_without_waiting_for_the_joiner: JoinWithoutObligation, 6, 0, 0;
    joining_before_the_tail_is_committed: JoinBeforeTail, 6, 0, 0;
    answering_before_storing: ForgetOnRestart, 4, 1, 0;
    voting_without_memory: VoteWithoutMemory, 5, 1, 1;
    trusting_an_earlier_life: IgnoreLives, 3, 1, 0;
}
