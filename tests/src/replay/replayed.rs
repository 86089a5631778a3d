//! A recorded TCP exchange from its begin to its end, and what has to hold for all of them.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use outlive::engine::Config;
use outlive::ip::{self, Cidr, Route};
use outlive::socket::asynchronous::{TcpListener, TcpStream};
use outlive::tcp::SocketOptions;
use outlive_driver::Capabilities;

use super::exchange::{Exchange, offset};
use super::peer::{Heard, Peer};
use super::script::{Witness, perform, steps};
use crate::decode::Segment;
use crate::simulation::node::OurNode;
use crate::simulation::world::World;

/// Longest that a replay may take in virtual time.
const LIMIT: Duration = Duration::from_secs(300);

/// A finished replay.
#[derive(Debug)]
pub struct Replayed {
    /// What was recorded.
    pub exchange: Exchange,
    /// What our application saw.
    pub witness: Witness,
    /// What the peer heard from us.
    pub heard: Rc<RefCell<Heard>>,
    /// Connections that our stack still knows of.
    pub connections: usize,
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

/// The window of the local end's SYN, if that window was closed later.
fn closed_window(exchange: &Exchange) -> Option<usize> {
    let ours = exchange.events.iter().filter(|event| event.local);
    let mut segments = ours.filter_map(|event| event.segment());
    let first = segments.next()?;
    let closed = |segment: &Segment| segment.window == 0 && !segment.rst;
    segments.any(closed).then(|| first.window.into())
}

/// Plays a fixture to our stack.
///
/// # Panics
/// When a rule is broken on the wire, or the peer waits in vain for what it answered to.
#[must_use]
pub fn replay(name: &str) -> Replayed {
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
        // A small window is the application's choice.
        let options = closed_window(&exchange).map(|bytes| SocketOptions {
            receive_buffer_bytes: Some(bytes),
            ..SocketOptions::default()
        });
        let (stack, remote) = (stack.clone(), SocketAddr::V4(exchange.peer));
        world.spawn(host, async move {
            let opened = TcpStream::connect_with(&stack, None, remote, options);
            match opened.await {
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

/// Replays a connection that was established, and holds it against what is true of every one.
///
/// # Panics
/// When it is not so.
#[must_use]
pub fn check(name: &str) -> Replayed {
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
