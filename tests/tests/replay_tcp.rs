//! Recorded TCP exchanges, with our stack in the place of the end where they were captured. What we send is
//! held against what is allowed: the same stream, acknowledgements that cover what came, the same options,
//! RST where one is due and nowhere else; the watcher checks the rest on every frame.

use std::io::ErrorKind;
use std::time::Duration;

use outlive_tests::decode::Segment;
use outlive_tests::replay::exchange::{Exchange, offset};
use outlive_tests::replay::replayed::{check, replay};
use outlive_tests::replay::script::{Step, steps};
use test_case::test_case;

/// The first segment with SYN that an end of the exchange, or we, sent.
fn syn<'a>(mut segments: impl Iterator<Item = &'a Segment>) -> Segment {
    segments.find(|segment| segment.syn).expect("a SYN").clone()
}

#[test_case("handshake-all-options.server")]
#[test_case("ours-handshake-all-options.server")]
#[test_case("handshake-all-options.client")]
#[test_case("ours-handshake-all-options.client")]
#[test_case("handshake-no-timestamps.server")]
#[test_case("handshake-no-timestamps.client")]
#[test_case("handshake-no-sack.server")]
#[test_case("handshake-no-sack.client")]
#[test_case("handshake-no-scaling.server")]
#[test_case("handshake-no-scaling.client")]
#[test_case("handshake-no-options.server")]
#[test_case("handshake-no-options.client")]
fn handshakes_agree_on_what_the_peer_offers(name: &str) {
    let replayed = check(name);
    let heard = replayed.heard.borrow();
    let ours = syn(heard.segments.iter().map(|(_, segment)| segment));
    assert_eq!(ours.mss, Some(1460), "{name}");
    if replayed.exchange.active {
        // We offer everything, whatever the recorded client did.
        assert!(ours.sack_permitted && ours.timestamps.is_some() && ours.window_scale.is_some());
        return;
    }
    let recorded = syn(replayed
        .exchange
        .events
        .iter()
        .filter(|event| event.local)
        .filter_map(|event| event.segment()));
    assert_eq!(ours.sack_permitted, recorded.sack_permitted, "{name}");
    assert_eq!(
        ours.timestamps.is_some(),
        recorded.timestamps.is_some(),
        "{name}"
    );
    assert_eq!(
        ours.window_scale.is_some(),
        recorded.window_scale.is_some(),
        "{name}"
    );
}

#[test_case("close-by-client.server")]
#[test_case("ours-close-by-client.server")]
#[test_case("close-by-client.client")]
#[test_case("ours-close-by-client.client")]
#[test_case("close-by-server.server")]
#[test_case("ours-close-by-server.server")]
#[test_case("close-by-server.client")]
#[test_case("ours-close-by-server.client")]
#[test_case("half-close.server")]
#[test_case("ours-half-close.server")]
#[test_case("half-close.client")]
#[test_case("ours-half-close.client")]
#[test_case("simultaneous-close.server")]
#[test_case("ours-simultaneous-close.server")]
#[test_case("simultaneous-close.client")]
#[test_case("ours-simultaneous-close.client")]
fn closes_end_in_order_on_both_sides(name: &str) {
    let replayed = check(name);
    assert!(replayed.witness.end_of_stream, "{name}");
}

#[test_case("http-keep-alive.server")]
#[test_case("ours-http-keep-alive.server")]
#[test_case("ours-http.server")]
#[test_case("http-keep-alive.client")]
#[test_case("ours-http-keep-alive.client")]
#[test_case("urgent.server")]
#[test_case("ours-urgent.server")]
#[test_case("keep-alive.server")]
#[test_case("ours-keep-alive.server")]
fn sessions_go_on(name: &str) {
    let _ = check(name);
}

#[test_case("simultaneous-open.server")]
#[test_case("ours-simultaneous-open.server")]
#[test_case("simultaneous-open.client")]
#[test_case("ours-simultaneous-open.client")]
fn crossing_syns_make_one_connection(name: &str) {
    let replayed = check(name);
    let heard = replayed.heard.borrow();
    let mut syns = heard
        .segments
        .iter()
        .map(|(_, segment)| segment)
        .filter(|segment| segment.syn);
    let (first, second) = (syns.next().expect("a SYN"), syns.next().expect("a SYN-ACK"));
    assert_eq!(first.ack, None, "{name}");
    assert!(second.ack.is_some() && second.seq == first.seq, "{name}");
}

#[test_case("bulk-loss-upload.server")]
#[test_case("ours-bulk-loss-upload.server")]
#[test_case("ours-bulk-loss-download.client")]
#[test_case("ours-loss-upload.server")]
fn losses_on_the_way_to_us_are_reported_by_sack(name: &str) {
    let replayed = check(name);
    let heard = replayed.heard.borrow();
    let blocks = heard
        .segments
        .iter()
        .map(|(_, segment)| segment.sack.len())
        .max();
    assert!(
        blocks >= Some(2),
        "the fixture has several holes at once: {blocks:?}"
    );
}

#[test_case("bulk-loss-download.server")]
#[test_case("ours-bulk-loss-download.server")]
#[test_case("ours-bulk-loss-upload.client")]
#[test_case("ours-loss-download.server")]
fn losses_on_the_way_from_us_are_repaired(name: &str) {
    let replayed = check(name);
    let heard = replayed.heard.borrow();
    // The peer's last ACK comes after every hole was filled; slow starts from time-outs alone would take
    // seconds.
    let data: Vec<_> = heard
        .segments
        .iter()
        .filter(|(_, segment)| !segment.payload.is_empty())
        .collect();
    let (first, last) = (data.first().expect("data").0, data.last().expect("data").0);
    assert!(
        last.since(first) < Duration::from_secs(3),
        "{:?}",
        last.since(first)
    );
}

#[test_case("zero-window.server")]
#[test_case("ours-zero-window.server")]
fn a_closed_window_is_probed_until_it_opens(name: &str) {
    let replayed = check(name);
    assert!(replayed.exchange.any(false, |segment| segment.window == 0));
}

#[test]
fn a_reader_that_rests_closes_the_window_and_opens_it_again() {
    let replayed = check("ours-zero-window.client");
    let heard = replayed.heard.borrow();
    let windows: Vec<_> = heard
        .segments
        .iter()
        .map(|(_, segment)| segment.window)
        .collect();
    let closed_at = windows.iter().position(|&window| window == 0);
    let later = &windows[closed_at.expect("the window fills up") + 1..];
    assert!(
        later.contains(&0),
        "a probe is told that it is still closed: {windows:?}"
    );
    assert!(later.iter().any(|&window| window > 0), "{windows:?}");
}

#[test_case("keep-alive.client")]
#[test_case("ours-keep-alive.client")]
fn a_silent_peer_is_probed(name: &str) {
    let probes = |segments: &mut dyn Iterator<Item = &Segment>| {
        let mut next = None;
        let below = |segment: &&Segment| {
            let below = next == Some(segment.seq.wrapping_add(1)) && segment.sequence_len() == 0;
            let end = segment.seq.wrapping_add(segment.sequence_len());
            next = next.filter(|_| below).or(Some(end));
            below
        };
        segments.filter(below).count()
    };
    let replayed = check(name);
    let heard = replayed.heard.borrow();
    let recorded = replayed.exchange.events.iter().filter(|event| event.local);
    let expected = probes(&mut recorded.filter_map(|event| event.segment()));
    assert_eq!(expected, 3, "{name}: the fixture has probes");
    assert_eq!(
        probes(&mut heard.segments.iter().map(|(_, segment)| segment)),
        expected,
        "{name}"
    );
}

#[test_case("path-mtu.server")]
#[test_case("ours-path-mtu.server")]
fn a_smaller_mtu_on_the_path_is_learned(name: &str) {
    let replayed = check(name);
    let heard = replayed.heard.borrow();
    let sizes: Vec<_> = heard
        .segments
        .iter()
        .map(|(_, segment)| segment.ip_len)
        .collect();
    let largest_at = sizes
        .iter()
        .rposition(|&size| size > 1000)
        .expect("full-sized segments at first");
    let after = &sizes[largest_at + 1..];
    assert!(
        after.iter().filter(|&&size| size == 1000).count() >= 15,
        "{sizes:?}"
    );
}

#[test_case("reset-established.server", ErrorKind::ConnectionReset)]
#[test_case("ours-reset-established.server", ErrorKind::ConnectionReset)]
#[test_case("reset-close-wait.server", ErrorKind::ConnectionReset)]
#[test_case("ours-reset-close-wait.server", ErrorKind::ConnectionReset)]
fn a_reset_from_the_peer_ends_the_connection(name: &str, kind: ErrorKind) {
    let replayed = replay(name);
    assert_eq!(
        replayed.witness.error,
        Some(kind),
        "{name}: {:?}",
        replayed.witness
    );
    assert_eq!(replayed.connections, 0, "{name}");
}

#[test_case("reset-fin-wait-1.server")]
#[test_case("ours-reset-fin-wait-1.server")]
#[test_case("reset-closing.server")]
#[test_case("ours-reset-closing.server")]
#[test_case("reset-last-ack.server")]
#[test_case("ours-reset-last-ack.server")]
#[test_case("reset-half-closed.server")]
#[test_case("ours-reset-half-closed.server")]
#[test_case("reset-time-wait.server")]
#[test_case("ours-reset-time-wait.server")]
fn a_reset_while_closing_is_the_last_that_is_heard(name: &str) {
    let replayed = replay(name);
    assert_eq!(replayed.connections, 0, "{name}");
    let recorded = &replayed.exchange.events;
    let (before, after) = recorded.split_at(
        recorded
            .iter()
            .position(|event| event.segment().is_some_and(|segment| segment.rst))
            .expect("a RST in the fixture"),
    );
    assert!(after.iter().all(|event| !event.local), "{name}");
    // A FIN that nobody acknowledged would be sent again if the RST had not ended the connection.
    let fins = |segments: &mut dyn Iterator<Item = &Segment>| segments.filter(|s| s.fin).count();
    let heard = replayed.heard.borrow();
    assert_eq!(
        fins(&mut heard.segments.iter().map(|(_, segment)| segment)),
        fins(
            &mut before
                .iter()
                .filter(|event| event.local)
                .filter_map(|event| event.segment())
        ),
        "{name}"
    );
}

#[test_case("reset-syn-received.server")]
#[test_case("ours-reset-syn-received.server")]
fn a_reset_before_the_handshake_ends_is_forgotten(name: &str) {
    let replayed = replay(name);
    assert_eq!(
        (replayed.connections, replayed.witness.finished),
        (0, false)
    );
}

#[test_case("reset-fin-wait.server")]
#[test_case("ours-reset-fin-wait.server")]
fn writing_to_a_peer_that_has_gone_is_answered_by_its_reset(name: &str) {
    let replayed = replay(name);
    assert_eq!(replayed.connections, 0);
    assert!(
        replayed
            .heard
            .borrow()
            .segments
            .iter()
            .any(|(_, segment)| !segment.payload.is_empty())
    );
}

#[test_case("reset-established.client")]
#[test_case("ours-reset-established.client")]
#[test_case("reset-close-wait.client")]
#[test_case("ours-reset-close-wait.client")]
fn our_abort_sends_a_reset_that_the_peer_accepts(name: &str) {
    let replayed = replay(name);
    let heard = replayed.heard.borrow();
    let (_, reset) = heard
        .segments
        .iter()
        .find(|(_, segment)| segment.rst)
        .expect("a RST");
    let recorded = replayed
        .exchange
        .events
        .iter()
        .filter(|event| event.local)
        .filter_map(|event| event.segment());
    let recorded = recorded
        .clone()
        .find(|segment| segment.rst)
        .expect("a RST in the fixture");
    let (ours, theirs) = (
        heard.iss.expect("a SYN"),
        replayed.exchange.iss.0.expect("a SYN"),
    );
    assert_eq!(
        offset(reset.seq, ours),
        offset(recorded.seq, theirs),
        "{name}"
    );
    assert_eq!(replayed.connections, 0, "{name}");
}

#[test_case("reset-fin-wait.client")]
#[test_case("ours-reset-fin-wait.client")]
fn data_for_a_socket_that_was_closed_is_answered_by_a_reset(name: &str) {
    let replayed = replay(name);
    assert!(
        replayed
            .heard
            .borrow()
            .segments
            .iter()
            .any(|(_, segment)| segment.rst)
    );
    assert_eq!(replayed.connections, 0);
}

#[test_case("reset-refused.server")]
#[test_case("ours-reset-refused.server")]
fn nobody_listening_refuses(name: &str) {
    let replayed = replay(name);
    let heard = replayed.heard.borrow();
    let [(_, reset)] = heard.segments.as_slice() else {
        panic!("one segment, and not {:?}", heard.segments);
    };
    let recorded = replayed.exchange.events[1].segment().expect("a RST");
    assert!(reset.rst);
    assert_eq!((reset.seq, reset.ack), (recorded.seq, recorded.ack));
}

#[test_case("reset-refused.client")]
#[test_case("ours-reset-refused.client")]
fn being_refused_is_an_error_of_connect(name: &str) {
    let replayed = replay(name);
    assert_eq!(replayed.witness.error, Some(ErrorKind::ConnectionRefused));
    assert_eq!(replayed.connections, 0);
}

#[test]
fn the_script_is_what_the_application_did() {
    let steps = steps(&Exchange::load("half-close.server"));
    assert_eq!(steps[0], Step::EndOfStream);
    assert!(steps.contains(&Step::Shutdown));
    let sent: usize = steps
        .iter()
        .map(|step| {
            if let Step::Send(data) = step {
                data.len()
            } else {
                0
            }
        })
        .sum();
    assert_eq!(sent, 5000);
}
