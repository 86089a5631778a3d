//! Frames cross in real time, and settings change on the way.

use super::*;
use crate::device::Capabilities;
use crate::memory;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Two devices joined by a relay, and the relay.
fn relayed(to_b: Impairment, to_a: Impairment) -> (Interface, Interface, RelayHandle) {
    let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500);
    let (a, relay_a) = memory::pair(&capabilities, &capabilities).unwrap();
    let (b, relay_b) = memory::pair(&capabilities, &capabilities).unwrap();
    (a, b, Relay::start(relay_a, relay_b, to_b, to_a, 1).unwrap())
}

fn send(interface: &mut Interface, text: &'static str) {
    let mut batch = VecDeque::from([TxFrame::whole(Bytes::from(text))]);
    interface.queues[0].transmit.transmit(&mut batch).unwrap();
}

fn next(interface: &mut Interface) -> Bytes {
    let receive = &mut interface.queues[0].receive;
    let mut into = Vec::new();
    while receive.receive(&mut into, 1).unwrap() == 0 {
        let mut fds = [PollFd::new(receive.wait_fd().unwrap(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(5_000u16)).unwrap();
        assert_eq!(ready, 1, "nothing arrived");
    }
    into.remove(0).data
}

#[test]
fn frames_cross_both_ways_and_never_before_their_time() {
    let delay = Duration::from_millis(3);
    let slow = Impairment {
        delay,
        ..Impairment::default()
    };
    let (mut a, mut b, relay) = relayed(slow.clone(), slow);
    let clock = Clock::start();
    for _ in 0..20 {
        let start = clock.now();
        send(&mut a, "question");
        assert_eq!(next(&mut b), "question");
        send(&mut b, "answer");
        assert_eq!(next(&mut a), "answer");
        assert!(clock.now().since(start) >= delay * 2);
    }
    let totals = relay.stop().unwrap();
    assert_eq!((totals.to_a.delivered, totals.to_b.delivered), (20, 20));
}

#[test]
fn settings_change_while_it_runs() {
    let (mut a, mut b, relay) = relayed(Impairment::default(), Impairment::default());
    send(&mut a, "passes");
    assert_eq!(next(&mut b), "passes");
    let nothing = Impairment {
        loss: 1.0,
        ..Impairment::default()
    };
    relay.set(nothing, Impairment::default());
    // The order is taken when the thread next looks; a frame that is lost after it proves that.
    while relay.totals().to_b.lost == 0 {
        send(&mut a, "lost");
        std::thread::yield_now();
    }
    relay.set(Impairment::default(), Impairment::default());
    send(&mut b, "the other way");
    assert_eq!(next(&mut a), "the other way");
    assert!(relay.is_running());
}

#[test]
fn different_media_are_not_joined() {
    let ethernet = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500);
    let ip = Capabilities {
        medium: Medium::Ip,
        ..ethernet.clone()
    };
    let (a, b) = memory::pair(&ethernet, &ip).unwrap();
    assert!(Relay::start(a, b, Impairment::default(), Impairment::default(), 0).is_err());
}
