//! What do round-trip times come from (RFC 9293 §3.8.1, RFC 6298 §3)?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, defaults, parameters};

/// Without timestamps an ACK does not say which transmission it is for.
fn plain() -> Pair {
    let client = parameters(|config, _| {
        config.timestamps = false;
        config.tail_loss_probe = false;
    });
    Pair::established(client, defaults())
}

/// Loses the first transmission of the next `count` segments of the client; returns when each was sent.
fn lose_one(pair: &mut Pair) -> Vec<Duration> {
    pair.sent.clear();
    pair.filter = Box::new(
        |sent| match sent.by == CLIENT && !sent.segment.retransmission {
            true => Fate::Drop,
            false => Fate::Deliver,
        },
    );
    let start = pair.now;
    pair.write(CLIENT, b"lost once");
    pair.run_to(|pair| pair.tcb(CLIENT).info().in_flight == 0);
    let data = pair
        .sent_by(CLIENT)
        .into_iter()
        .filter(|sent| sent.len() > 0);
    data.map(|sent| sent.at.since(start)).collect()
}

#[test]
fn what_was_sent_twice_gives_no_round_trip_time() {
    let mut pair = plain();
    let before = pair.tcb(CLIENT).info().rtt;
    assert_eq!(before, Some(Duration::from_millis(20)));
    assert!(lose_one(&mut pair).len() >= 2);
    assert_eq!(pair.tcb(CLIENT).info().rtt, before);
}

#[test]
fn the_longer_time_out_stays_until_there_is_a_new_sample() {
    let mut pair = plain();
    let first = *lose_one(&mut pair).last().unwrap();
    let second = *lose_one(&mut pair).last().unwrap();
    assert!(second >= 2 * first, "{first:?} {second:?}");
}
