//! Recorded TCP exchanges, with our stack in the place of the end where they were captured. What we send is
//! held against what is allowed: the same stream, acknowledgements that cover what came, the same options,
//! RST where one is due and nowhere else; the watcher checks the rest on every frame.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use outlive::engine::Config;
use outlive::ip::{self, Cidr, Route};
use outlive::socket::asynchronous::{TcpListener, TcpStream};
use outlive_driver::Capabilities;
use outlive_tests::decode::Segment;
use outlive_tests::replay::exchange::{Exchange, offset};
use outlive_tests::replay::peer::{Heard, Peer};
use outlive_tests::replay::script::{Step, Witness, perform, steps};
use outlive_tests::simulation::node::OurNode;
use outlive_tests::simulation::world::World;
use test_case::test_case;

/// Longest that a replay may take in virtual time.
const LIMIT: Duration = Duration::from_secs(300);

/// A finished replay.
struct Replayed {
    exchange: Exchange,
    witness: Witness,
    heard: Rc<RefCell<Heard>>,
    connections: usize,
}

fn config(exchange: &Exchange) -> Config {
    let local = IpAddr::V4(*exchange.local.ip());
    let routed = exchange.local.ip().octets()[2] != exchange.peer.ip().octets()[2];
    let routes = routed.then(|| Route {
        destination: Cidr::new(IpAddr::from([0, 0, 0, 0]), 0).expect("zero bits are possible"),
        metric: 0,
        gateway: Some(IpAddr::from([10, 77, exchange.local.ip().octets()[2], 2])),
    });
    Config {
        ip: ip::Config {
            addresses: vec![Cidr::new(local, if routed { 30 } else { 24 }).expect("possible")],
            routes: routes.into_iter().collect(),
            ..ip::Config::default()
        },
        seed: Some(1),
        ..Config::default()
    }
}

/// Plays a fixture to our stack.
fn replay(name: &str) -> Replayed {
    let exchange = Exchange::load(name);
    let mut world = World::new(1);
    let capabilities = Capabilities::plain_ethernet(exchange.macs.0, 1500);
    let node = OurNode::new(&capabilities, config(&exchange));
    let stack = node.stack();
    let host = world.add(node);
    let steps = steps(&exchange);
    let witness: Rc<RefCell<Witness>> = Rc::default();
    let shared = Rc::clone(&witness);
    if exchange.active {
        let (stack, remote) = (stack.clone(), SocketAddr::V4(exchange.peer));
        world.spawn(host, async move {
            match TcpStream::connect(&stack, remote).await {
                Ok(stream) => perform(stream, steps, shared).await,
                Err(error) => shared.borrow_mut().error = Some(error.kind()),
            }
        });
    } else if exchange.iss.0.is_some() {
        let listener =
            TcpListener::bind(&stack, SocketAddr::V4(exchange.local)).expect("the port is free");
        world.spawn_service(host, async move {
            if let Ok((stream, _)) = listener.accept().await {
                perform(stream, steps, shared).await;
            }
            std::future::pending::<()>().await;
        });
    }
    let peer = Peer::new(&exchange);
    let heard = peer.heard();
    world.add(peer);
    world
        .run_for(LIMIT)
        .unwrap_or_else(|violation| panic!("{name}: {violation}"));
    let left = heard.borrow().left;
    let (position, witness) = (heard.borrow().iss, witness.borrow().clone());
    assert_eq!(
        left, 0,
        "{name}: we never sent what the peer answered to; {position:?}, {witness:?}"
    );
    let connections = stack.connections();
    Replayed {
        exchange,
        witness,
        heard,
        connections,
    }
}

/// What has to hold for every replay of a connection that was established.
fn check(name: &str) -> Replayed {
    let replayed = replay(name);
    let Replayed {
        exchange,
        witness,
        heard,
        connections,
    } = &replayed;
    let heard = heard.borrow();
    assert!(
        witness.finished,
        "{name}: the application hangs: {witness:?}"
    );
    assert_eq!(witness.error, None, "{name}");
    let (sent, arrived) = (exchange.stream(true), exchange.stream(false));
    assert_eq!(witness.received, arrived, "{name}: the stream to us");
    let iss = heard.iss.expect("we sent a SYN");
    let ours = heard.segments.iter().map(|(_, segment)| segment);
    let highest = ours
        .clone()
        .map(|segment| offset(segment.seq, iss) + segment.payload.len() as i64)
        .max();
    assert!(
        highest >= Some(sent.len() as i64 + 1),
        "{name}: the stream from us"
    );
    let resets = ours.clone().filter(|segment| segment.rst).count();
    let expected = exchange.any(true, |segment| segment.rst);
    assert_eq!(resets > 0, expected, "{name}: RST");
    if !expected && !exchange.any(false, |segment| segment.rst) {
        let peer_iss = exchange.iss.1.expect("the peer sent a SYN");
        let covered = ours
            .filter_map(|segment| segment.ack)
            .map(|ack| offset(ack, peer_iss))
            .max();
        assert_eq!(
            covered,
            Some(arrived.len() as i64 + 2),
            "{name}: all acknowledged, and the FIN"
        );
    }
    assert_eq!(
        *connections, 0,
        "{name}: everything is forgotten in the end"
    );
    drop(heard);
    replayed
}

/// The first segment with SYN that an end of the exchange, or we, sent.
fn syn<'a>(mut segments: impl Iterator<Item = &'a Segment>) -> Segment {
    segments.find(|segment| segment.syn).expect("a SYN").clone()
}

#[test_case("handshake-all-options.server")]
#[test_case("handshake-all-options.client")]
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
#[test_case("close-by-client.client")]
#[test_case("close-by-server.server")]
#[test_case("close-by-server.client")]
#[test_case("half-close.server")]
#[test_case("half-close.client")]
#[test_case("simultaneous-close.server")]
#[test_case("simultaneous-close.client")]
fn closes_end_in_order_on_both_sides(name: &str) {
    let replayed = check(name);
    assert!(replayed.witness.end_of_stream, "{name}");
}

#[test_case("http-keep-alive.server")]
#[test_case("ours-http.server")]
#[test_case("http-keep-alive.client")]
#[test_case("urgent.server")]
#[test_case("keep-alive.server")]
fn sessions_go_on(name: &str) {
    check(name);
}

#[test_case("simultaneous-open.server")]
#[test_case("simultaneous-open.client")]
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

#[test]
fn a_closed_window_is_probed_until_it_opens() {
    let replayed = check("zero-window.server");
    assert!(replayed.exchange.any(false, |segment| segment.window == 0));
}

#[test]
fn a_smaller_mtu_on_the_path_is_learned() {
    let replayed = check("path-mtu.server");
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
#[test_case("reset-close-wait.server", ErrorKind::ConnectionReset)]
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
#[test_case("reset-closing.server")]
#[test_case("reset-last-ack.server")]
#[test_case("reset-half-closed.server")]
#[test_case("reset-time-wait.server")]
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

#[test]
fn a_reset_before_the_handshake_ends_is_forgotten() {
    let replayed = replay("reset-syn-received.server");
    assert_eq!(
        (replayed.connections, replayed.witness.finished),
        (0, false)
    );
}

#[test]
fn writing_to_a_peer_that_has_gone_is_answered_by_its_reset() {
    let replayed = replay("reset-fin-wait.server");
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
#[test_case("reset-close-wait.client")]
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

#[test]
fn data_for_a_socket_that_was_closed_is_answered_by_a_reset() {
    let replayed = replay("reset-fin-wait.client");
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

#[test]
fn nobody_listening_refuses() {
    let replayed = replay("reset-refused.server");
    let heard = replayed.heard.borrow();
    let [(_, reset)] = heard.segments.as_slice() else {
        panic!("one segment, and not {:?}", heard.segments);
    };
    let recorded = replayed.exchange.events[1].segment().expect("a RST");
    assert!(reset.rst);
    assert_eq!((reset.seq, reset.ack), (recorded.seq, recorded.ack));
}

#[test]
fn being_refused_is_an_error_of_connect() {
    let replayed = replay("reset-refused.client");
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
