//! When is a connection ready for more (like `TCP_NOTSENT_LOWAT`)?

use std::task::{Context, Waker};
use std::time::Duration;

use super::pair::{CLIENT, Pair, defaults, parameters};

const LOW_WATER: usize = 10_000;

fn is_writable(pair: &mut Pair) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    pair.tcb(CLIENT).poll_writable(cx).is_ready()
}

#[test]
fn little_has_to_wait_before_more_is_asked_for() {
    let client = parameters(|_, options| options.not_sent_low_water_bytes = Some(LOW_WATER));
    let mut pair = Pair::established(client, defaults());
    pair.write(CLIENT, &[1; LOW_WATER]);
    assert_eq!(pair.tcb(CLIENT).unsent_bytes(), LOW_WATER);
    assert!(!is_writable(&mut pair));
    // What is written all the same is taken.
    assert_eq!(pair.write(CLIENT, &[1; 100_000]), 100_000);
    pair.transmit();
    assert!(pair.tcb(CLIENT).unsent_bytes() > LOW_WATER);
    assert!(!is_writable(&mut pair));
    pair.run_to(is_writable);
    let left = pair.tcb(CLIENT).unsent_bytes();
    assert!(left < LOW_WATER && left > 0, "{left}");
}

#[test]
fn the_waiting_writer_is_woken_at_that_mark_and_not_before() {
    let client = parameters(|_, options| options.not_sent_low_water_bytes = Some(LOW_WATER));
    let mut pair = Pair::established(client, defaults());
    pair.write(CLIENT, &[1; 100_000]);
    pair.transmit();
    assert!(!is_writable(&mut pair));
    let mut wakers = Vec::new();
    pair.run_until(pair.now + Duration::from_secs(5), |pair| {
        pair.tcb(CLIENT).take_wakers(&mut wakers);
        assert!(wakers.is_empty() || pair.tcb(CLIENT).unsent_bytes() < LOW_WATER);
        !wakers.is_empty()
    });
    assert_eq!(wakers.len(), 1);
    pair.tcb(CLIENT).set_not_sent_low_water(None);
    pair.write(CLIENT, &[1; 50_000]);
    assert!(is_writable(&mut pair));
}
