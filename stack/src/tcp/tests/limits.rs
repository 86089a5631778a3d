//! Can an application learn what its sending waits for?

use std::task::{Context, Waker};
use std::time::Duration;

use super::pair::{CLIENT, Pair, SERVER, parameters};
use crate::tcp::Parameters;

fn accounting() -> Parameters {
    parameters(|config, options| {
        config.limited_times = true;
        options.send_buffer_bytes = Some(8_000);
        options.receive_buffer_bytes = Some(20_000);
    })
}

/// Busy, limited by the peer's window, limited by the own buffer, in milliseconds.
fn times_ms(pair: &mut Pair) -> [u128; 3] {
    let now = pair.now;
    let times = pair.tcb(CLIENT).limited_times(now);
    [times.busy, times.by_window, times.by_buffer].map(|time| time.as_millis())
}

#[test]
fn a_peer_that_does_not_read_is_the_limit_and_idleness_is_none() {
    let mut pair = Pair::established(accounting(), accounting());
    pair.run_for(Duration::from_secs(5));
    assert_eq!(times_ms(&mut pair), [0, 0, 0], "nothing was written");
    pair.ends[SERVER].reads = false;
    for _ in 0..20 {
        pair.write(CLIENT, &[1; 8_000]);
        pair.run_for(Duration::from_millis(100));
    }
    let before = times_ms(&mut pair);
    pair.run_for(Duration::from_secs(10));
    let after = times_ms(&mut pair);
    assert_eq!(after[0] - before[0], 10_000);
    assert_eq!(after[1] - before[1], 10_000);
    assert_eq!(after[2], before[2]);
    pair.ends[SERVER].reads = true;
    pair.run_for(Duration::from_secs(200));
    let done = times_ms(&mut pair);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(times_ms(&mut pair), done, "all is acknowledged");
}

#[test]
fn a_small_send_buffer_is_the_limit_where_the_window_would_hold_more() {
    let mut pair = Pair::established(accounting(), accounting());
    let cx = &mut Context::from_waker(Waker::noop());
    let end = pair.now + Duration::from_secs(2);
    pair.run_until(end, |pair| {
        while pair.write(CLIENT, &[1; 8_000]) > 0 {}
        let _ = pair.tcb(CLIENT).poll_writable(cx);
        false
    });
    let [busy, by_window, by_buffer] = times_ms(&mut pair);
    assert!(busy >= 1_900, "{busy}");
    assert_eq!(by_window, 0);
    assert!(by_buffer > busy * 9 / 10, "{by_buffer} of {busy}");
}
