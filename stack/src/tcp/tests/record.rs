//! Does a connection go on when it is taken apart and put together again?

use std::time::Duration;

use proptest::prelude::*;

use super::pair::{CLIENT, Pair, SERVER, defaults, parameters, pattern, rough};
use crate::random::Random;
use crate::tcp::record::{Continuation, Record, wire_number};
use crate::tcp::snapshot::Snapshot;
use crate::tcp::{Flags, Parameters, Segment, State, Tcb};

/// How the bytes are divided does not matter.
fn joined(mut snapshot: Snapshot) -> Snapshot {
    for pieces in [&mut snapshot.receive.in_order, &mut snapshot.send.queue] {
        *pieces = vec![pieces.concat().into()];
    }
    snapshot
}

impl Pair {
    /// Exports a side and puts a Tcb built from the snapshot in its place.
    fn rebuild(&mut self, side: usize) -> bool {
        let now = self.now;
        let parameters = self.ends[side].parameters.clone();
        let Some(snapshot) = self.tcb(side).export() else {
            return false;
        };
        let edge = snapshot.receive.edge;
        let mut rebuilt = Tcb::from_snapshot(parameters, now, snapshot.clone());
        let again = rebuilt.export().map(joined);
        assert!(again == Some(joined(snapshot)), "not the same again");
        assert!(rebuilt.rcv.edge >= edge, "the right edge moved left");
        self.ends[side].tcb = Some(rebuilt);
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn exported_and_rebuilt_at_any_moment_the_stream_is_the_same(
        seed: u64, loss in 0u64..10, len in 1usize..300_000, every_ms in 5u64..500,
        sack: bool, timestamps: bool, gated: bool,
        buffer in prop_oneof![Just(None), (4096usize..100_000).prop_map(Some)],
    ) {
        let chosen = Parameters {
            gated,
            ..parameters(|config, options| {
                config.sack = sack;
                config.timestamps = timestamps;
                options.receive_buffer_bytes = buffer;
            })
        };
        let mut pair = Pair::new(chosen.clone(), chosen);
        pair.always_consult = true;
        pair.open();
        pair.filter = rough(seed, loss, 3, 5);
        let mut random = Random::from_seed(seed);
        let data = pattern(len);
        let mut written = [0; 2];
        let end = pair.now + Duration::from_secs(36_000);
        let mut rebuilt = 0;
        loop {
            prop_assert!(pair.now < end, "not done");
            for side in [CLIENT, SERVER] {
                if pair.states()[side].accepts_writes() && written[side] < len {
                    written[side] += pair.write(side, &data[written[side]..]);
                    if written[side] == len {
                        pair.tcb(side).shutdown_write().unwrap();
                    }
                }
            }
            let until = pair.now + Duration::from_micros(random.below(2000 * every_ms));
            pair.run_until(until, |_| false);
            pair.now = until;
            // Reading in odd pieces leaves something to export.
            for side in [CLIENT, SERVER] {
                pair.ends[side].reads = random.chance(2, 3);
                // A rebuilt side starts its timers anew, so give it time now and then.
                if pair.states()[side].is_synchronized() && rebuilt < 20 {
                    rebuilt += usize::from(pair.rebuild(side));
                }
            }
            let over = |state: &State| matches!(state, State::TimeWait | State::Closed);
            if written == [len; 2] && pair.states().iter().all(over) {
                break;
            }
        }
        for side in [CLIENT, SERVER] {
            pair.read(side);
            prop_assert!(pair.ends[side].received == data, "side {}", side);
        }
        prop_assert!(rebuilt > 0);
    }

    #[test]
    fn from_its_record_alone_a_server_goes_on_where_the_client_stands(
        seed: u64, len in 1usize..300_000, after_ms in 30u64..300, back in 0u64..100_000,
    ) {
        // A download. The server dies; what is known of it is its record and what it had committed.
        let server = Parameters { gated: true, ..defaults() };
        let mut pair = Pair::new(defaults(), server);
        pair.always_consult = true;
        pair.open();
        pair.filter = rough(seed, 3, 3, 5);
        pair.run_to(|pair| pair.states() == [State::Established; 2]);
        let data = pattern(len);
        pair.write(CLIENT, b"GET");
        let mut written = 0;
        let end = pair.now + Duration::from_millis(after_ms);
        while pair.now < end {
            if written < len {
                written += pair.write(SERVER, &data[written..]);
            }
            let tick = pair.now + Duration::from_millis(5);
            pair.run_until(tick, |_| false);
            pair.now = tick;
        }
        let now = pair.now;
        let record = pair.tcb(SERVER).record().unwrap();
        pair.read(SERVER);
        let rcv = pair.tcb(SERVER).rcv;
        // An anchor: something that the client had acknowledged some time ago.
        let anchor = pair.tcb(SERVER).snd.una;
        let anchor = anchor - anchor.saturating_sub(1).min(back);
        let continuation = Continuation {
            state: State::Established,
            send_position: anchor,
            fin: None,
            committed: rcv.committed,
            peer_fin: None,
            unread: Vec::new(),
            right_edge: rcv.edge,
            dormant: false,
            parting: None,
            abort: false,
            number: 0,
            probe_at: now,
        };
        let parameters = pair.ends[SERVER].parameters.clone();
        pair.ends[SERVER].tcb = Some(Tcb::from_record(parameters, now, &record, continuation));
        // The application continues there.
        let mut written = (anchor - 1) as usize;
        pair.run_to(|pair| {
            if pair.states()[SERVER].accepts_writes() {
                written += pair.write(SERVER, &data[written..]);
                if written == len {
                    pair.tcb(SERVER).shutdown_write().unwrap();
                }
            }
            pair.states()[CLIENT] == State::CloseWait
        });
        pair.run_for(Duration::from_secs(10));
        prop_assert!(pair.ends[CLIENT].received == data);
        prop_assert_eq!(&pair.ends[SERVER].received, b"GET");
    }
}

#[test]
fn every_synchronised_state_can_be_rebuilt() {
    for (closes, state) in [
        ([false, false], State::Established),
        ([true, false], State::FinWait2),
        ([false, true], State::CloseWait),
    ] {
        let mut pair = Pair::established(defaults(), defaults());
        for side in [CLIENT, SERVER] {
            if closes[side] {
                pair.tcb(side).shutdown_write().unwrap();
                pair.run_for(Duration::from_millis(50));
            }
        }
        assert_eq!(pair.states()[CLIENT], state);
        assert!(pair.rebuild(CLIENT));
        assert_eq!(pair.states()[CLIENT], state);
        for side in [CLIENT, SERVER] {
            let _ = pair.tcb(side).shutdown_write();
        }
        pair.run_for(Duration::from_secs(130));
        assert_eq!(pair.states(), [State::Closed; 2]);
        assert_eq!([pair.error(CLIENT), pair.error(SERVER)], [None; 2]);
    }
    // Those that last only as long as a segment is on its way.
    for wanted in [
        State::FinWait1,
        State::LastAck,
        State::Closing,
        State::TimeWait,
    ] {
        let mut pair = Pair::established(defaults(), defaults());
        if wanted == State::LastAck {
            pair.tcb(SERVER).shutdown_write().unwrap();
            pair.run_for(Duration::from_millis(50));
        }
        pair.tcb(CLIENT).shutdown_write().unwrap();
        if matches!(wanted, State::Closing | State::TimeWait) {
            pair.tcb(SERVER).shutdown_write().unwrap();
        }
        pair.run_to(|pair| pair.states()[CLIENT] == wanted);
        assert!(pair.rebuild(CLIENT));
        assert_eq!(pair.states()[CLIENT], wanted);
        let _ = pair.tcb(SERVER).shutdown_write();
        pair.run_for(Duration::from_secs(130));
        assert_eq!(pair.states(), [State::Closed; 2], "from {wanted:?}");
    }
}

#[test]
fn a_stream_far_beyond_four_gigabytes_goes_on_at_the_right_position() {
    const GIB: u64 = 1 << 30;
    let pair = Pair::established(defaults(), defaults());
    let now = pair.now;
    let record = Record {
        iss: 0xffff_0000,
        irs: 0x8000_0000,
        our_mss: 1460,
        peer_mss: 1460,
        our_scale: 7,
        peer_scale: 7,
        sack: true,
        ecn: false,
        accurate_ecn: false,
        timestamps: None,
        passive: true,
        first_window: 65_535,
        peer_timestamp: 0,
        peer_user_timeout: 0,
    };
    // The client is anywhere within what the anchors allow.
    for (anchor, ahead) in [
        (9 * GIB, 0),
        (9 * GIB, GIB),
        (4 * GIB - 5, GIB),
        (3 * GIB, 17),
    ] {
        let continuation = Continuation {
            state: State::Established,
            send_position: anchor,
            fin: None,
            committed: 500,
            peer_fin: None,
            unread: Vec::new(),
            right_edge: 100_000,
            dormant: false,
            parting: None,
            abort: false,
            number: 1,
            probe_at: now,
        };
        let server = Parameters {
            gated: true,
            ..defaults()
        };
        let mut tcb = Tcb::from_record(server, now, &record, continuation);
        assert_eq!(tcb.peer_position(), None);
        tcb.on_timer(now);
        let probe = tcb.poll_transmit(now).expect("a probe");
        assert!(probe.payload.is_empty(), "invariant 9");
        assert_eq!(probe.seq, wire_number(record.iss, anchor - 1));
        let answer = Segment {
            seq: wire_number(record.irs, 500),
            ack: wire_number(record.iss, anchor + ahead),
            flags: Flags::ACK,
            window: 100,
            ..Segment::default()
        };
        tcb.on_segment(now, answer);
        assert_eq!(tcb.peer_position(), Some(anchor + ahead));
    }
}

#[test]
fn probes_carry_a_byte_only_where_the_peer_surely_has_it() {
    let pair = Pair::established(defaults(), defaults());
    let mut server = pair;
    let record = server.tcb(SERVER).record().unwrap();
    let now = server.now;
    for anchor in [1, 5000] {
        let continuation = Continuation {
            state: State::Established,
            send_position: anchor,
            fin: None,
            committed: 1,
            peer_fin: None,
            unread: Vec::new(),
            right_edge: 100_000,
            dormant: false,
            parting: None,
            abort: false,
            number: 0,
            probe_at: now,
        };
        let mut tcb = Tcb::from_record(defaults(), now, &record, continuation);
        let (mut sizes, mut at) = (Vec::new(), now);
        for _ in 0..6 {
            at = tcb.next_deadline().expect("the next probe").max(at);
            tcb.on_timer(at);
            let probe = tcb.poll_transmit(at).expect("a probe");
            assert_eq!(probe.seq, wire_number(record.iss, anchor - 1));
            sizes.push(probe.payload.iter().map(bytes::Bytes::len).sum::<usize>());
            assert!(tcb.poll_transmit(at).is_none(), "and nothing else");
        }
        let expected: &[usize] = if anchor == 1 {
            &[0; 6]
        } else {
            &[0, 0, 1, 1, 1, 1]
        };
        assert_eq!(sizes, expected);
    }
}
