//! What reaches a replica, and what does not.

use super::*;

struct Net {
    channels: Channels,
    now: Instant,
}

impl Net {
    fn new() -> Self {
        let mut random = Random::from_seed(3);
        let mut channels = Channels::new(3, 2, Quality::default(), &mut random);
        (0..3).for_each(|host| channels.set_presence(Instant::ZERO, host, Presence::Works));
        let mut net = Self {
            channels,
            now: Instant::ZERO,
        };
        net.pass(1);
        net
    }

    /// Lets time go by; what arrives meanwhile.
    fn pass(&mut self, milliseconds: u64) -> Vec<(usize, Arrival)> {
        let mut out = Vec::new();
        for _ in 0..milliseconds * 10 {
            self.now += Duration::from_micros(100);
            self.channels.poll(self.now, &mut out);
        }
        out
    }

    fn send(&mut self, from: usize, to: usize, lane: Lane, text: &'static str) {
        let message = Bytes::from_static(text.as_bytes());
        self.channels.send(self.now, from, to, lane, message);
    }
}

fn message(from: usize, lane: Lane, text: &'static str) -> Arrival {
    Arrival::Message(from, lane, Bytes::from_static(text.as_bytes()))
}

#[test]
fn an_ordered_channel_keeps_the_order_and_a_cut_one_delivers_late_or_breaks() {
    let mut net = Net::new();
    net.send(0, 1, Lane::Commit, "a");
    net.send(0, 1, Lane::Commit, "b");
    let expected = ["a", "b"].map(|text| (1, message(0, Lane::Commit, text)));
    assert_eq!(net.pass(1), expected);
    net.channels.cut(0, 1, 0, true);
    net.send(0, 1, Lane::Commit, "c");
    assert!(net.pass(100).is_empty());
    net.channels.cut(0, 1, 0, false);
    assert_eq!(net.pass(1), [(1, message(0, Lane::Commit, "c"))]);
    net.channels.cut(0, 1, 0, true);
    net.send(0, 1, Lane::Commit, "d");
    let broken = net.pass(500);
    assert!(broken.contains(&(0, Arrival::Connected(1, false))));
    assert!(!broken.contains(&(1, message(0, Lane::Commit, "d"))));
    net.channels.cut(0, 1, 0, false);
    let up = net.pass(200);
    assert!(up.contains(&(0, Arrival::Connected(1, true))));
    let last = up.iter().rfind(|(to, _)| *to == 1);
    assert_eq!(last, Some(&(1, Arrival::Connected(0, true))));
}

#[test]
fn a_process_that_ends_is_heard_out_and_then_known_to_be_gone() {
    let mut net = Net::new();
    net.send(0, 1, Lane::Commit, "last words");
    net.channels
        .set_presence(net.now, 0, Presence::ProcessEnded);
    let seen = net.pass(50);
    let of_1: Vec<_> = seen.iter().filter(|(to, _)| *to == 1).collect();
    let expected = [
        (1, message(0, Lane::Commit, "last words")),
        (1, Arrival::Connected(0, false)),
    ];
    assert_eq!(of_1, expected.iter().collect::<Vec<_>>());
    assert!(seen.iter().all(|(to, _)| *to != 0));
    net.channels.set_presence(net.now, 0, Presence::Works);
    assert!(net.pass(50).contains(&(1, Arrival::Connected(0, true))));
}

#[test]
fn a_cut_path_loses_datagrams_and_the_other_does_not() {
    let mut net = Net::new();
    net.channels.cut(2, 0, 0, true);
    net.send(2, 0, Lane::Heartbeat(0), "lost");
    net.send(2, 0, Lane::Heartbeat(1), "heard");
    assert_eq!(net.pass(1), [(0, message(2, Lane::Heartbeat(1), "heard"))]);
}
