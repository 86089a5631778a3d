//! Does anything leave before it is committed?

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;

use super::pair::{CLIENT, Pair, SERVER, defaults, parameters, pattern, rough};
use super::transfer::exchange;
use crate::random::Random;
use crate::tcp::gate::{Commit, Decision, Gate};
use crate::tcp::{Flags, FourTuple, Parameters, State};
use crate::time::Instant;

fn gated() -> Parameters {
    Parameters {
        gated: true,
        ..defaults()
    }
}

/// A gate that answers later, and remembers what was committed.
struct Slow {
    asked: Mutex<VecDeque<(Instant, Commit)>>,
}

impl Gate for Slow {
    fn request(&self, _: &FourTuple, _: u64, commit: &Commit) -> Decision {
        self.asked
            .lock()
            .unwrap()
            .push_back((Instant::FAR_FUTURE, commit.clone()));
        Decision::Hold
    }
}

struct AlwaysOpen;

impl Gate for AlwaysOpen {
    fn request(&self, _: &FourTuple, _: u64, _: &Commit) -> Decision {
        Decision::Permit
    }
}

pub(super) fn id() -> FourTuple {
    FourTuple::new(
        "10.0.0.1:80".parse().unwrap(),
        "10.0.0.2:5000".parse().unwrap(),
    )
}

#[test]
fn the_syn_ack_waits_for_the_record() {
    let mut pair = Pair::new(defaults(), gated());
    pair.open();
    pair.run_for(Duration::from_millis(500));
    assert!(pair.sent_by(SERVER).is_empty());
    let commit = pair.tcb(SERVER).next_commit().unwrap();
    let Commit::Record { record, .. } = &commit else {
        panic!("{commit:?}")
    };
    assert_eq!(record.iss, pair.ends[SERVER].iss);
    assert_eq!(record.irs, pair.ends[CLIENT].iss);
    assert_eq!(pair.tcb(SERVER).next_commit(), None, "asked once");
    pair.tcb(SERVER).commit(&commit);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn an_active_opener_waits_with_its_ack() {
    let mut pair = Pair::new(gated(), defaults());
    pair.open();
    // The SYN itself promises nothing, but the connection is not recorded yet either.
    let syn = pair.run_until(pair.now + Duration::from_millis(100), |pair| {
        !pair.sent_by(CLIENT).is_empty()
    });
    assert!(syn, "the SYN leaves");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.sent_by(CLIENT).len(), 1, "and nothing after it");
    assert_eq!(pair.states()[SERVER], State::SynReceived);
    assert!(pair.tcb(CLIENT).consult(&id(), &AlwaysOpen));
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Established; 2]);
}

fn established() -> Pair {
    let mut pair = Pair::new(defaults(), gated());
    pair.open();
    pair.run_for(Duration::from_millis(15));
    pair.tcb(SERVER).consult(&id(), &AlwaysOpen);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Established; 2]);
    pair.sent.clear();
    pair
}

#[test]
fn a_window_opens_when_its_edge_is_committed_though_nobody_reads_any_more() {
    let server = Parameters {
        gated: true,
        ..parameters(|_, options| options.receive_buffer_bytes = Some(20_000))
    };
    let mut pair = Pair::new(defaults(), server);
    pair.ends[SERVER].reads = false;
    pair.open();
    pair.write(CLIENT, &pattern(50_000));
    for _ in 0..50 {
        pair.run_for(Duration::from_millis(15));
        pair.tcb(SERVER).consult(&id(), &AlwaysOpen);
    }
    assert!(pair.tcb(SERVER).readable_bytes() > 15_000, "it is full");
    pair.read(SERVER);
    assert!(pair.tcb(SERVER).wants_transmit(), "the edge is asked for");
    pair.transmit();
    let commit = pair.tcb(SERVER).next_commit().expect("of the edge");
    assert!(matches!(commit, Commit::Received { .. }), "{commit:?}");
    pair.sent.clear();
    pair.transmit();
    assert!(pair.sent_by(SERVER).is_empty());
    pair.tcb(SERVER).commit(&commit);
    pair.transmit();
    let scale = pair.tcb(SERVER).info().window_scales.0;
    let told = pair.sent_by(SERVER);
    let window = told
        .last()
        .map(|sent| u32::from(sent.segment.window) << scale);
    assert!(window >= Some(15_000), "{window:?}");
}

#[test]
fn bytes_are_neither_acknowledged_nor_readable_before_they_are_committed() {
    let mut pair = established();
    pair.write(CLIENT, b"request");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.tcb(SERVER).readable_bytes(), 0);
    let acks = |pair: &mut Pair| -> Vec<u64> {
        let sent = pair.sent_by(SERVER);
        sent.iter()
            .map(|sent| pair.tcb(CLIENT).our_position(sent.segment.ack).unwrap())
            .collect()
    };
    assert!(acks(&mut pair).iter().all(|&ack| ack == 1));
    let commit = pair.tcb(SERVER).next_commit().unwrap();
    assert!(
        matches!(commit, Commit::Received { upto: 8, .. }),
        "{commit:?}"
    );
    pair.tcb(SERVER).commit(&commit);
    pair.transmit();
    assert_eq!(pair.tcb(SERVER).readable_bytes(), 7);
    assert_eq!(acks(&mut pair).last(), Some(&8));
}

#[test]
fn fin_and_rst_wait_for_their_commits() {
    let mut pair = established();
    pair.tcb(SERVER).shutdown_write().unwrap();
    pair.run_for(Duration::from_millis(500));
    assert!(
        pair.sent_by(SERVER)
            .iter()
            .all(|sent| !sent.has(Flags::FIN))
    );
    let commit = pair.tcb(SERVER).next_commit().unwrap();
    assert!(matches!(commit, Commit::Fin { position: 1, .. }));
    pair.tcb(SERVER).commit(&commit);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::CloseWait, State::FinWait2]);

    pair.tcb(SERVER).abort();
    pair.run_for(Duration::from_millis(500));
    assert!(
        pair.sent_by(SERVER)
            .iter()
            .all(|sent| !sent.has(Flags::RST))
    );
    assert!(!pair.tcb(SERVER).is_closed(), "its RST is still due");
    let commit = pair.tcb(SERVER).next_commit().unwrap();
    assert_eq!(commit, Commit::Abort);
    pair.tcb(SERVER).commit(&commit);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert!(pair.tcb(SERVER).is_closed());
}

#[test]
fn bytes_behind_a_barrier_wait_for_its_number() {
    let mut pair = established();
    pair.write(SERVER, b"free");
    pair.tcb(SERVER).send_after_commit(7);
    pair.write(SERVER, b"held");
    pair.tcb(SERVER).send_after_commit(9);
    pair.write(SERVER, b"longer");
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ends[CLIENT].received, b"free");
    pair.tcb(SERVER).commit_reached(7);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[CLIENT].received, b"freeheld");
    pair.tcb(SERVER).commit_reached(8);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[CLIENT].received, b"freeheld");
    pair.tcb(SERVER).commit_reached(9);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[CLIENT].received, b"freeheldlonger");
}

#[test]
fn nothing_is_sent_far_beyond_the_committed_anchor() {
    use crate::tcp::gate::{ANCHOR_EVERY_BYTES, ANCHOR_REACH_BYTES, Note};
    let mut pair = established();
    let tcb = pair.tcb(SERVER);
    assert_eq!(tcb.barrier(), ANCHOR_REACH_BYTES, "invariant 4");
    let far = ANCHOR_EVERY_BYTES + 7;
    tcb.stand_at(far);
    let commit = tcb.next_commit().unwrap();
    let Commit::Note {
        note: Note::Anchor { position, .. },
        ..
    } = commit
    else {
        panic!("{commit:?}")
    };
    assert_eq!(position, far);
    assert_eq!(
        tcb.barrier(),
        ANCHOR_REACH_BYTES,
        "not before it is committed"
    );
    tcb.commit(&commit);
    assert_eq!(tcb.barrier(), far + ANCHOR_REACH_BYTES);
    assert_eq!(tcb.next_commit(), None, "one in 2^28 bytes");
}

#[test]
fn in_lockstep_each_segment_waits_to_be_agreed_to() {
    let server = Parameters {
        gated: true,
        ..parameters(|config, _| config.lockstep = true)
    };
    let mut pair = Pair::new(defaults(), server);
    pair.open();
    pair.run_for(Duration::from_millis(15));
    pair.tcb(SERVER).consult(&id(), &AlwaysOpen);
    pair.run_for(Duration::from_millis(100));
    pair.write(SERVER, &[1; 5000]);
    for segments in 0..4 {
        pair.run_for(Duration::from_millis(100));
        let data = pair
            .sent_by(SERVER)
            .iter()
            .filter(|sent| sent.len() > 0)
            .count();
        assert_eq!(data, segments);
        pair.tcb(SERVER).consult(&id(), &AlwaysOpen);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_ack_ever_covers_what_is_not_committed(
        seed: u64, loss in 0u64..10, delay_ms in 0u64..50, len in 0usize..300_000,
        buffer in prop_oneof![Just(None), (4096usize..100_000).prop_map(Some)],
    ) {
        let server = Parameters {
            gated: true,
            ..parameters(|_, options| options.receive_buffer_bytes = buffer)
        };
        let mut pair = Pair::new(defaults(), server);
        pair.open();
        pair.filter = rough(seed, loss, 2, 5);
        let data = pattern(len);
        let gate = Slow { asked: Mutex::default() };
        let mut random = Random::from_seed(seed);
        let (mut written, mut committed, mut edge, mut checked) = (0, 1, 0, 0);
        let mut offered = 0;
        let mut tick = pair.now;
        let end = pair.now + Duration::from_secs(3600);
        while pair.now < end {
            // The gate answers what is due, in order.
            if pair.ends[SERVER].tcb.is_some() {
                pair.tcb(SERVER).consult(&id(), &gate);
                let now = pair.now;
                let mut asked = gate.asked.lock().unwrap();
                for (at, _) in asked.iter_mut().filter(|asked| asked.0 == Instant::FAR_FUTURE) {
                    *at = now + Duration::from_millis(random.below(delay_ms + 1));
                }
                while asked.front().is_some_and(|asked| asked.0 <= now) {
                    let (_, commit) = asked.pop_front().unwrap();
                    match &commit {
                        &Commit::Received { upto, right_edge, .. } => (committed, edge) = (upto, right_edge),
                        Commit::Record { record, .. } => edge = record.right_edge(),
                        _ => {}
                    }
                    pair.tcb(SERVER).commit(&commit);
                }
            }
            pair.read(SERVER);
            if pair.states()[CLIENT].accepts_writes() && written < len {
                written += pair.write(CLIENT, &data[written..]);
                if written == len {
                    pair.tcb(CLIENT).shutdown_write().unwrap();
                }
            }
            if pair.states()[SERVER] == State::CloseWait {
                pair.tcb(SERVER).shutdown_write().unwrap();
            }
            tick += Duration::from_millis(1);
            pair.run_until(tick, |_| false);
            pair.now = tick;
            for sent in pair.sent.split_off(checked) {
                if sent.by == SERVER && sent.has(Flags::ACK) {
                    let (irs, scale) = (pair.ends[CLIENT].iss, pair.tcb(SERVER).info().window_scales.0);
                    let ack = u64::from(sent.segment.ack.wrapping_sub(irs));
                    let shift = if sent.has(Flags::SYN) { 0 } else { scale };
                    prop_assert!(ack <= committed, "acknowledged {ack} of {committed}");
                    let promised = ack + (u64::from(sent.segment.window) << shift);
                    prop_assert!(promised <= edge, "promised {promised} of {edge}");
                    prop_assert!(promised >= offered, "the edge moves left from {offered} to {promised}");
                    offered = promised;
                }
            }
            checked = pair.sent.len();
            if written == len && pair.states().iter().all(|state| {
                matches!(state, State::TimeWait | State::Closed)
            }) {
                break;
            }
        }
        prop_assert!(pair.ends[SERVER].received == data);
    }

    #[test]
    fn a_gate_that_permits_at_once_changes_nothing(seed: u64, len in 0usize..100_000) {
        let mut pair = Pair::new(gated(), gated());
        pair.open();
        pair.always_consult = true;
        pair.filter = rough(seed, 5, 2, 5);
        exchange(&mut pair, len);
    }
}

impl Pair {
    pub(super) fn consult_all(&mut self) {
        for side in [CLIENT, SERVER] {
            if let Some(tcb) = &mut self.ends[side].tcb {
                tcb.consult(&id(), &AlwaysOpen);
            }
        }
    }
}
