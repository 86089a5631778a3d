use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::association::{Association, Reply};
use super::datagram::Datagram;
use super::refusal::Refusal;
use crate::id::{HostId, PathId};
use crate::key::Key;
use outlive::random::Random;
use outlive::time::Instant;

const PATH: PathId = PathId(0);

fn association(me: u8, peer: u8, key: u8, seed: u64) -> Association {
    let key = Key::from_bytes([key; 32]);
    Association::new(key, HostId(me), HostId(peer), Random::from_seed(seed))
}

/// Hosts 0 and 1 with the datagrams between them.
struct Wire {
    now: Instant,
    hosts: [Association; 2],
    /// Every datagram that was delivered, with its receiver.
    seen: Vec<(usize, Vec<u8>)>,
    messages: [Vec<Bytes>; 2],
    refusals: [Vec<Refusal>; 2],
}

impl Wire {
    fn new(keys: [u8; 2]) -> Self {
        Self {
            now: Instant::from_millis(1000),
            hosts: [association(0, 1, keys[0], 1), association(1, 0, keys[1], 2)],
            seen: Vec::new(),
            messages: Default::default(),
            refusals: Default::default(),
        }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        self.seen.push((to, bytes.to_vec()));
        let mut replies = Vec::new();
        let result = Datagram::parse(bytes)
            .and_then(|datagram| self.hosts[to].receive(self.now, PATH, datagram, &mut replies));
        match result {
            Ok(message) => self.messages[to].extend(message),
            Err(refusal) => self.refusals[to].push(refusal),
        }
        for reply in replies {
            let (Reply::Here(bytes) | Reply::Everywhere(bytes)) = reply;
            self.deliver(1 - to, &bytes);
        }
    }

    /// Lets `ms` pass, a millisecond at a time; `lost` says which polls lose what they send.
    fn pass(&mut self, ms: u64, mut lost: impl FnMut() -> bool) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            for from in 0..2 {
                if let Some(Reply::Here(bytes) | Reply::Everywhere(bytes)) =
                    self.hosts[from].poll(self.now)
                    && !lost()
                {
                    self.deliver(1 - from, &bytes);
                }
            }
        }
    }

    fn sealed(&self, from: usize, message: &[u8]) -> Option<Vec<u8>> {
        self.hosts[from]
            .sealer()
            .load()
            .as_ref()?
            .seal(PATH, message)
    }

    /// Sends a message and says whether it arrived.
    fn send(&mut self, from: usize, message: &'static [u8]) -> bool {
        let Some(bytes) = self.sealed(from, message) else {
            return false;
        };
        self.deliver(1 - from, &bytes);
        self.messages[1 - from]
            .pop()
            .is_some_and(|it| it == message)
    }

    fn works(&mut self) -> bool {
        self.send(0, b"ping") && self.send(1, b"pong")
    }
}

#[test]
fn two_hosts_with_the_key_agree_at_once() {
    let mut wire = Wire::new([7, 7]);
    wire.pass(1, || false);
    assert!(wire.works());
    assert_eq!(wire.refusals, [vec![], vec![]]);
}

#[test]
fn what_is_lost_is_tried_again() {
    let mut wire = Wire::new([7, 7]);
    let mut losses = 5;
    wire.pass(2000, || {
        losses -= 1;
        losses >= 0
    });
    assert!(wire.works());
}

#[test]
fn another_key_gets_nowhere() {
    let mut wire = Wire::new([7, 8]);
    wire.pass(3000, || false);
    assert!(!wire.send(0, b"x") && !wire.send(1, b"x"));
    assert!(wire.refusals[1].len() > 3);
    assert!(
        wire.refusals[1]
            .iter()
            .all(|refusal| *refusal == Refusal::Key)
    );
}

#[test]
fn a_datagram_counts_once() {
    let mut wire = Wire::new([7, 7]);
    wire.pass(1, || false);
    let bytes = wire.sealed(0, b"once").unwrap();
    wire.deliver(1, &bytes);
    wire.deliver(1, &bytes);
    assert_eq!(wire.messages[1], ["once"]);
    assert_eq!(wire.refusals[1], [Refusal::Replay]);
}

#[test]
fn a_datagram_belongs_to_its_path() {
    let mut wire = Wire::new([7, 7]);
    wire.pass(1, || false);
    let bytes = wire.hosts[0]
        .sealer()
        .load()
        .as_ref()
        .unwrap()
        .seal(PathId(1), b"x");
    wire.deliver(1, &bytes.unwrap());
    assert_eq!(wire.refusals[1], [Refusal::Path]);
}

#[test]
fn either_host_can_start_again() {
    let mut wire = Wire::new([7, 7]);
    wire.pass(1, || false);
    for restarted in [0, 1, 1, 0] {
        let old = wire.sealed(0, b"old").unwrap();
        wire.hosts[restarted] = association(
            restarted as u8,
            1 - restarted as u8,
            7,
            99 + wire.now.as_nanos(),
        );
        for _ in 0..20 {
            wire.pass(10, || false);
            // Heartbeats go on, and show a host that has forgotten its sessions.
            for from in 0..2 {
                if let Some(bytes) = wire.sealed(from, b"heartbeat") {
                    wire.deliver(1 - from, &bytes);
                }
            }
        }
        assert!(wire.works(), "after host {restarted} started again");
        wire.messages = Default::default();
        wire.deliver(1, &old);
        assert!(wire.messages[1].is_empty(), "of an older session");
    }
}

#[test]
fn everything_ever_sent_does_no_harm_when_it_comes_again() {
    let mut wire = Wire::new([7, 7]);
    wire.pass(1, || false);
    assert!(wire.works());
    // The responder starts again; what its predecessor was sent is replayed to it, before and after.
    let recorded = wire.seen.clone();
    wire.hosts[1] = association(1, 0, 7, 3);
    wire.messages = Default::default();
    for (to, bytes) in &recorded {
        wire.deliver(*to, bytes);
    }
    assert_eq!(wire.messages, [vec![] as Vec<Bytes>, vec![]]);
    wire.pass(100, || false);
    if !wire.works() {
        wire.pass(600, || false);
        assert!(wire.works());
    }
    let recorded = wire.seen.clone();
    wire.messages = Default::default();
    for (to, bytes) in &recorded {
        wire.deliver(*to, bytes);
    }
    assert_eq!(wire.messages, [vec![] as Vec<Bytes>, vec![]]);
    assert!(wire.works());
}

#[test]
fn a_hello_does_not_end_a_session_that_lives() {
    let mut wire = Wire::new([7, 7]);
    wire.pass(1, || false);
    assert!(wire.works());
    let hello = b"OL\x01\x00\x01\x00";
    wire.seen.clear();
    for _ in 0..100 {
        wire.deliver(0, hello);
    }
    assert_eq!(wire.seen.len(), 100, "answered");
    assert!(wire.works());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_and_cut_datagrams_are_refused_and_the_service_goes_on(
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..=255, any::<bool>()), 1..60),
    ) {
        let mut wire = Wire::new([7, 7]);
        wire.pass(1, || false);
        prop_assert!(wire.works());
        let recorded = wire.seen.clone();
        for (which, place, flip, cut) in mutations {
            let (to, bytes) = &recorded[which.index(recorded.len())];
            let mut bytes = bytes.clone();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            if cut {
                bytes.truncate(place);
            }
            wire.deliver(*to, &bytes);
        }
        prop_assert_eq!(&wire.messages, &[vec![] as Vec<Bytes>, vec![]]);
        prop_assert!(wire.works());
    }
}
