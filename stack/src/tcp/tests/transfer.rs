//! Do the bytes arrive, whatever the wire does?

use std::time::Duration;

use proptest::prelude::*;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters, path, pattern, rough};
use crate::tcp::{Parameters, State};

/// Sends `len` bytes each way and closes both; checks bytes and final states.
pub(super) fn exchange(pair: &mut Pair, len: usize) {
    let data = pattern(len);
    let mut written = [0; 2];
    pair.run_to(|pair| {
        for side in [CLIENT, SERVER] {
            if pair.states()[side].accepts_writes() && written[side] < len {
                written[side] += pair.write(side, &data[written[side]..]);
                if written[side] == len {
                    pair.tcb(side).shutdown_write().unwrap();
                }
            }
        }
        pair.states()
            .iter()
            .all(|state| matches!(state, State::TimeWait | State::Closed))
            && written == [len; 2]
    });
    for side in [CLIENT, SERVER] {
        assert!(
            pair.ends[side].received == data,
            "bytes read by side {side}"
        );
        assert_eq!(pair.error(side), None);
        assert!(pair.at_end(side));
    }
}

fn start(client: Parameters, server: Parameters) -> Pair {
    let mut pair = Pair::new(client, server);
    pair.open();
    pair
}

#[test]
fn a_clean_wire_needs_no_retransmission() {
    let mut pair = start(defaults(), defaults());
    exchange(&mut pair, 3_000_000);
    assert!(pair.sent.iter().all(|sent| !sent.segment.retransmission));
}

#[test]
fn a_device_that_cuts_gets_large_segments() {
    let large = Parameters {
        path: path(1500, 65_535),
        ..defaults()
    };
    let mut pair = start(large.clone(), large);
    exchange(&mut pair, 3_000_000);
    assert!(pair.sent.iter().all(|sent| !sent.segment.retransmission));
    assert!(pair.sent.iter().any(|sent| sent.len() > 60_000));
    for sent in &pair.sent {
        assert!(sent.len() <= 65_535 - 40);
        assert_eq!(sent.len() > 1448, sent.segment.segment_bytes.is_some());
    }
}

#[test]
fn what_was_lost_is_sent_again() {
    for (seed, loss) in [(1, 1), (2, 5), (3, 20), (4, 20)] {
        let mut pair = start(defaults(), defaults());
        pair.filter = rough(seed, loss, 2, 2);
        exchange(&mut pair, 400_000);
    }
}

#[test]
fn a_lost_segment_costs_one_round_trip_and_no_time_out() {
    let mut pair = start(defaults(), defaults());
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.by == CLIENT && sent.len() > 0);
        if count == 60 && sent.len() > 0 && sent.by == CLIENT {
            count += 1;
            return Fate::Drop;
        }
        Fate::Deliver
    });
    exchange(&mut pair, 1_000_000);
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 0);
    let again = |sent: &&super::pair::Sent| sent.segment.retransmission;
    assert_eq!(pair.sent.iter().filter(again).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_wire_any_options(
        seed: u64,
        loss in 0u64..25,
        duplication in 0u64..20,
        delay in 0u64..40,
        delay_ms in 0u64..200,
        len in 0usize..200_000,
        sack: bool, timestamps: bool, window_scaling: bool, cuts: bool, no_delay: bool,
        mtu in prop_oneof![Just(576usize), Just(1500), Just(9000)],
        buffer in prop_oneof![Just(None), (2048usize..100_000).prop_map(Some)],
    ) {
        let chosen = |sack, timestamps, window_scaling| Parameters {
            path: path(mtu, if cuts { 65_535 } else { mtu }),
            ..parameters(|config, options| {
                config.sack = sack;
                config.timestamps = timestamps;
                config.window_scaling = window_scaling;
                options.no_delay = no_delay;
                options.receive_buffer_bytes = buffer;
            })
        };
        let mut pair = start(chosen(sack, timestamps, window_scaling), chosen(true, true, true));
        pair.delay = Duration::from_millis(delay_ms);
        pair.filter = rough(seed, loss, duplication, delay);
        exchange(&mut pair, len);
    }
}
