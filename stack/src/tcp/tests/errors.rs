//! What is known of trouble on the way that does not end a connection (RFC 9293 §3.9.1.8)?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, defaults};
use crate::ip::ErrorKind;
use crate::tcp::{Error, State};

#[test]
fn a_soft_error_can_be_learned_and_passes_with_an_ack() {
    let kinds = [
        (
            ErrorKind::Unreachable { code: 0 },
            Error::NetworkUnreachable,
        ),
        (ErrorKind::Unreachable { code: 1 }, Error::HostUnreachable),
        (ErrorKind::Unreachable { code: 5 }, Error::HostUnreachable),
        (ErrorKind::TimeExceeded, Error::HostUnreachable),
        (ErrorKind::ParameterProblem, Error::HostUnreachable),
    ];
    for (kind, expected) in kinds {
        let mut pair = Pair::established(defaults(), defaults());
        assert_eq!(pair.tcb(CLIENT).soft_error(), None);
        pair.filter = Box::new(|_| Fate::Drop);
        pair.write(CLIENT, b"on its way");
        pair.transmit();
        let (now, path) = (pair.now, pair.ends[CLIENT].parameters.path);
        let seq = pair.sent[0].segment.seq;
        assert!(pair.tcb(CLIENT).on_icmp_error(now, kind, seq, &path));
        // It is there for who asks, and nobody is disturbed who does not.
        assert_eq!(pair.tcb(CLIENT).soft_error(), Some(expected));
        assert_eq!(
            (pair.states()[CLIENT], pair.error(CLIENT)),
            (State::Established, None)
        );
        pair.filter = Box::new(|_| Fate::Deliver);
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.tcb(CLIENT).soft_error(), None);
    }
}

#[test]
fn after_three_time_outs_the_application_can_learn_of_it() {
    // R1 of RFC 9293 §3.8.3, SHLD-9, SHLD-10.
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(|_| Fate::Drop);
    pair.write(CLIENT, b"on its way");
    pair.run_to(|pair| pair.tcb(CLIENT).info().retries == 2);
    assert_eq!(pair.tcb(CLIENT).soft_error(), None);
    pair.run_to(|pair| pair.tcb(CLIENT).info().retries == 3);
    assert_eq!(pair.tcb(CLIENT).soft_error(), Some(Error::TimedOut));
    assert_eq!(pair.error(CLIENT), None);
    pair.filter = Box::new(|_| Fate::Deliver);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.tcb(CLIENT).soft_error(), None);
}
