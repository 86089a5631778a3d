//! Are idle peers probed, and only when asked for?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters};
use crate::tcp::{Error, KeepAlive, Parameters, State};

const HOUR: Duration = Duration::from_secs(3600);

fn kept() -> Parameters {
    parameters(|_, options| options.keep_alive = Some(KeepAlive::default()))
}

#[test]
fn not_by_default() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.run_for(1000 * HOUR);
    assert!(pair.sent.is_empty());
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn after_two_hours_of_silence_and_an_answer_is_enough() {
    let mut pair = Pair::established(kept(), defaults());
    let start = pair.now;
    pair.run_for(24 * HOUR);
    let probes = pair.sent_by(CLIENT);
    assert!((11..=12).contains(&probes.len()), "{}", probes.len());
    assert!(probes[0].at.since(start) > 2 * HOUR - Duration::from_secs(1));
    assert!(probes.iter().all(|probe| probe.len() == 0));
    assert_eq!(pair.sent_by(SERVER).len(), probes.len());
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn lost_answers_are_no_proof_but_nine_in_a_row_are() {
    let mut pair = Pair::established(kept(), defaults());
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.by == CLIENT);
        if count % 9 == 0 {
            Fate::Deliver
        } else {
            Fate::Drop
        }
    });
    pair.run_for(20 * HOUR);
    assert_eq!(pair.states()[CLIENT], State::Established);
    pair.filter = Box::new(|_| Fate::Drop);
    pair.run_for(3 * HOUR);
    assert_eq!(pair.states()[CLIENT], State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::TimedOut));
}

#[test]
fn traffic_puts_it_off() {
    let mut pair = Pair::established(kept(), defaults());
    for _ in 0..10 {
        pair.write(SERVER, b"still here");
        pair.run_for(HOUR);
    }
    assert!(pair.sent_by(CLIENT).len() <= 10, "only ACKs");
}
