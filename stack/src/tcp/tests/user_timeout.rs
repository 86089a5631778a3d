//! How long may the other side be away, when both talk about it (RFC 5482)?

use std::time::Duration;

use super::kept::Link;
use super::pair::{CLIENT, Fate, Pair, SERVER, parameters};
use crate::tcp::{Error, Flags, Parameters, State};

fn telling(seconds: u64) -> Parameters {
    parameters(|_, options| {
        options.advertised_user_timeout = Some(Duration::from_secs(seconds));
    })
}

fn silent() -> Parameters {
    parameters(|_, _| {})
}

/// Established, with all that was sent for that.
fn opened(client: Parameters, server: Parameters) -> Pair {
    let mut pair = Pair::new(client, server);
    pair.open();
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Established; 2]);
    pair
}

/// Nothing arrives any more; the side `by` is there after `still_s`, and has given up after `no_longer_s`.
fn gives_up(pair: &mut Pair, by: usize, still_s: u64, no_longer_s: u64) {
    pair.filter = Box::new(|_| Fate::Drop);
    pair.write(by, b"anybody?");
    pair.run_for(Duration::from_secs(still_s));
    assert_eq!(pair.states()[by], State::Established, "after {still_s} s");
    pair.run_for(Duration::from_secs(no_longer_s - still_s));
    assert_eq!(
        pair.error(by),
        Some(Error::TimedOut),
        "after {no_longer_s} s"
    );
}

/// What the segments that `by` sent said.
fn told(pair: &Pair, by: usize) -> Vec<(bool, u16)> {
    let of = pair.sent.iter().filter(|sent| sent.by == by);
    of.filter_map(|sent| Some((sent.has(Flags::SYN), sent.segment.options.user_timeout?)))
        .collect()
}

#[test]
fn both_wait_as_long_as_the_more_patient_one() {
    for by in [CLIENT, SERVER] {
        let mut pair = opened(telling(300), telling(1500));
        pair.write(SERVER, b"the first segment after the SYN");
        pair.run_for(Duration::from_secs(1));
        assert_eq!(told(&pair, CLIENT), [(true, 300), (false, 300)]);
        assert_eq!(told(&pair, SERVER), [(true, 1500), (false, 1500)]);
        // Without the option it would be over after fifteen retransmissions, some 15 minutes.
        gives_up(&mut pair, by, 1499, 1502);
    }
}

#[test]
fn nobody_is_talked_into_less_than_100_seconds_or_more_than_an_hour() {
    let mut pair = opened(telling(5), telling(7));
    gives_up(&mut pair, CLIENT, 99, 101);
    let mut pair = opened(telling(5), telling(1_000_000));
    assert_eq!(told(&pair, SERVER)[0], (true, 0x8000 | 16_667));
    gives_up(&mut pair, CLIENT, 3599, 3602);
}

#[test]
fn who_takes_no_part_says_nothing_and_hears_nothing() {
    let mut pair = opened(silent(), telling(110));
    assert!(told(&pair, CLIENT).is_empty());
    gives_up(&mut pair, CLIENT, 600, 3000);
    // The other one keeps its own word.
    let mut pair = opened(silent(), telling(110));
    gives_up(&mut pair, SERVER, 109, 112);
}

#[test]
fn what_the_application_chose_goes_first() {
    let mut pair = opened(telling(300), telling(300));
    pair.tcb(CLIENT)
        .set_user_timeout(Some(Duration::from_secs(10)));
    gives_up(&mut pair, CLIENT, 9, 11);
}

#[test]
fn a_change_is_told_at_once() {
    let mut pair = opened(telling(300), telling(300));
    pair.run_for(Duration::from_secs(1));
    let longer = Duration::from_secs(900);
    pair.tcb(CLIENT).set_advertised_user_timeout(Some(longer));
    pair.run_for(Duration::from_millis(100));
    assert_eq!(told(&pair, CLIENT).last(), Some(&(false, 900)));
    gives_up(&mut pair, SERVER, 899, 902);
}

#[test]
fn a_full_segment_stays_full() {
    let mut pair = opened(telling(300), telling(300));
    pair.write(SERVER, &[7; 100_000]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ends[CLIENT].received.len(), 100_000);
    let mss = pair.tcb(SERVER).info().snd_mss as usize;
    let too_long = pair.sent.iter().find(|sent| {
        let options = crate::wire::tcp::options_len(&sent.segment.options);
        sent.segment.segment_bytes.is_none() && sent.len() + options > mss + 12
    });
    assert!(too_long.is_none(), "{too_long:?}");
}

/// Runs for a second; the link carries what the server wants committed.
fn run_with(pair: &mut Pair, link: &mut Link) {
    let end = pair.now + Duration::from_secs(1);
    pair.run_until(end, |pair| {
        link.work(pair);
        false
    });
    pair.now = end;
    pair.sent.clear();
}

#[test]
fn what_the_peer_said_is_known_where_the_connection_goes_on() {
    // In its SYN, and later.
    for (first, then) in [(900, None), (300, Some(900))] {
        let server = Parameters {
            gated: true,
            ..telling(200)
        };
        let mut pair = Pair::new(telling(first), server);
        let mut link = Link::new(1, Duration::ZERO);
        pair.open();
        run_with(&mut pair, &mut link);
        if let Some(then) = then {
            let then = Some(Duration::from_secs(then));
            pair.tcb(CLIENT).set_advertised_user_timeout(then);
            run_with(&mut pair, &mut link);
        }
        link.take_over(&mut pair);
        run_with(&mut pair, &mut link);
        assert_eq!(pair.states(), [State::Established; 2]);
        gives_up(&mut pair, SERVER, 899, 902);
    }
}
