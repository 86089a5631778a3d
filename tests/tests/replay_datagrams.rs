//! Recorded exchanges below TCP, with our stack in the place of the end where they were captured: ARP and
//! echo, fragments both ways, and a UDP socket that learns from ICMP that nobody is there.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use outlive::counters::Counter;
use outlive::engine::{Config, Stack};
use outlive::ip::{self, Cidr};
use outlive::socket::asynchronous::UdpSocket;
use outlive_driver::{Capabilities, Instant, RxFrame, TxFrame};
use outlive_tests::decode::{Decoded, decode};
use outlive_tests::frames::arp;
use outlive_tests::replay::capture::load;
use outlive_tests::simulation::node::{Node, OurNode};
use outlive_tests::simulation::world::{HostId, World};
use test_case::test_case;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ECHO_REPLY: u8 = 0;

/// The other end: plays what was recorded of it, and keeps what we answer.
struct Player {
    mac: [u8; 6],
    address: Ipv4Addr,
    frames: VecDeque<(Duration, Vec<u8>)>,
    /// Waits for our first datagram before it says anything.
    answers_only: bool,
    heard: Rc<RefCell<Vec<Decoded>>>,
    replies: Vec<Vec<u8>>,
}

impl Node for Player {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        65_535
    }

    fn strict(&self) -> bool {
        false
    }

    fn receive(&mut self, _: Instant, frames: &mut Vec<RxFrame>) {
        for frame in frames.drain(..) {
            let decoded = decode(&frame.data).expect("an intact frame");
            match decoded {
                // Answers to what we ask for ourselves, which the recording need not contain.
                Decoded::Arp(1, asker, wanted) if wanted == self.address && asker != wanted => {
                    let us = frame.data[6..12].try_into().expect("six bytes");
                    self.replies
                        .push(arp(2, (self.mac, self.address), (us, asker), us));
                }
                Decoded::Arp(1, ..) => {}
                decoded => {
                    self.answers_only = false;
                    self.heard.borrow_mut().push(decoded);
                }
            }
        }
    }

    fn poll(&mut self, now: Instant, out: &mut VecDeque<TxFrame>) {
        let mut send = |bytes: Vec<u8>| {
            let mut frame = TxFrame::default();
            frame.payload.push(Bytes::from(bytes));
            out.push_back(frame);
        };
        self.replies.drain(..).for_each(&mut send);
        while !self.answers_only
            && self
                .frames
                .front()
                .is_some_and(|(at, _)| Instant::ZERO + *at <= now)
        {
            self.frames
                .pop_front()
                .into_iter()
                .for_each(|(_, frame)| send(frame));
        }
    }

    fn next_deadline(&mut self, _: Instant) -> Option<Instant> {
        let (at, _) = self.frames.front().filter(|_| !self.answers_only)?;
        Some(Instant::ZERO + *at)
    }
}

/// A world with our stack as `us` and the recorded other end of `fixture`.
struct Replay {
    world: World,
    host: HostId,
    stack: Stack,
    heard: Rc<RefCell<Vec<Decoded>>>,
}

impl Replay {
    fn new(fixture: &str, answers_only: bool) -> Self {
        let (us, them) = if fixture.ends_with(".client") {
            ((CLIENT, CLIENT_MAC), (SERVER, SERVER_MAC))
        } else {
            ((SERVER, SERVER_MAC), (CLIENT, CLIENT_MAC))
        };
        let mut world = World::new(1);
        let config = Config {
            ip: ip::Config {
                addresses: vec![Cidr::new(IpAddr::V4(us.0), 24).expect("24 bits are possible")],
                ..ip::Config::default()
            },
            seed: Some(1),
            ..Config::default()
        };
        let node = OurNode::new(&Capabilities::plain_ethernet(us.1, 1500), config);
        let stack = node.stack();
        let host = world.add(node);
        let heard: Rc<RefCell<Vec<Decoded>>> = Rc::default();
        let theirs = load(fixture)
            .into_iter()
            .filter(|captured| captured.data[6..12] == them.1);
        world.add(Player {
            mac: them.1,
            address: them.0,
            frames: theirs
                .map(|captured| (captured.at, captured.data))
                .collect(),
            answers_only,
            heard: Rc::clone(&heard),
            replies: Vec::new(),
        });
        Self {
            world,
            host,
            stack,
            heard,
        }
    }

    fn run(&mut self) {
        self.world
            .run_for(Duration::from_secs(20))
            .expect("no violation");
    }
}

/// What of a fixture an end sent, decoded.
fn sent_by(fixture: &str, mac: [u8; 6]) -> Vec<Decoded> {
    let frames = load(fixture)
        .into_iter()
        .filter(|captured| captured.data[6..12] == mac);
    frames
        .map(|captured| decode(&captured.data).expect("an intact frame"))
        .collect()
}

#[test_case("arp.server", 3)] // one ARP reply and two echo replies
#[test_case("ours-arp.server", 5)]
fn arp_and_echo_are_answered_as_recorded(fixture: &str, answers: usize) {
    let mut replay = Replay::new(fixture, false);
    replay.run();
    let is_answer = |decoded: &&Decoded| {
        matches!(
            decoded,
            Decoded::Arp(2, ..) | Decoded::Icmp(_, _, ECHO_REPLY, ..)
        )
    };
    let recorded = sent_by(fixture, SERVER_MAC);
    let expected: Vec<_> = recorded.iter().filter(is_answer).collect();
    let heard = replay.heard.borrow();
    assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    assert_eq!(expected.len(), answers, "in the fixture");
}

/// Puts UDP datagrams together again from what was heard: payloads by first byte of their order.
fn reassembled(heard: &[Decoded]) -> Vec<Vec<u8>> {
    let (mut whole, mut parts) = (Vec::new(), BTreeMap::<u16, Vec<(usize, &[u8])>>::new());
    for decoded in heard {
        match decoded {
            Decoded::Udp(_, _, payload) => whole.push(payload.clone()),
            Decoded::Fragment(fragment) => {
                assert!(fragment.ip_len <= 1500);
                let parts = parts.entry(fragment.identification).or_default();
                parts.push((fragment.offset_bytes, &fragment.payload));
            }
            _ => {}
        }
    }
    for mut parts in parts.into_values() {
        parts.sort_unstable();
        let mut datagram = Vec::new();
        for (offset, payload) in parts {
            assert_eq!(offset, datagram.len(), "fragments are next to each other");
            datagram.extend_from_slice(payload);
        }
        whole.push(datagram.split_off(8));
    }
    whole.sort_by_key(Vec::len);
    whole
}

#[test_case("fragments.server")]
#[test_case("ours-fragments.server")]
fn fragments_of_the_kernel_are_put_together_and_answered_in_fragments(fixture: &str) {
    let mut replay = Replay::new(fixture, false);
    let socket =
        UdpSocket::bind(&replay.stack, SocketAddr::from((SERVER, 7))).expect("the port is free");
    replay.world.spawn_service(replay.host, async move {
        while let Ok((data, from)) = socket.recv_bytes().await {
            socket
                .send_bytes(data, Some(from))
                .await
                .expect("an answer");
        }
    });
    replay.run();
    let answered = reassembled(&replay.heard.borrow());
    let recorded = reassembled(&sent_by(fixture, CLIENT_MAC));
    assert_eq!(
        answered.iter().map(Vec::len).collect::<Vec<_>>(),
        [1472, 1473, 4000, 9000]
    );
    assert_eq!(answered, recorded);
    assert_eq!(replay.stack.counters().get(Counter::IpReassembled), 3);
}

#[test_case("udp-port-unreachable.client")]
#[test_case("ours-udp-port-unreachable.client")]
fn a_connected_udp_socket_learns_that_nobody_is_there(fixture: &str) {
    let Some(Decoded::Udp(from, to, payload)) = sent_by(fixture, CLIENT_MAC).into_iter().next()
    else {
        panic!("the fixture begins with a datagram");
    };
    let mut replay = Replay::new(fixture, true);
    let socket = UdpSocket::bind(&replay.stack, SocketAddr::V4(from)).expect("the port is free");
    let seen = Rc::new(Cell::new(None));
    let (shared, expected) = (Rc::clone(&seen), payload.clone());
    replay.world.spawn(replay.host, async move {
        socket
            .connect(SocketAddr::V4(to))
            .expect("there is a route");
        socket
            .send_bytes(Bytes::from(payload), None)
            .await
            .expect("sent");
        let error = socket.recv_bytes().await.expect_err("nobody answers");
        shared.set(Some(error.kind()));
    });
    replay.run();
    assert_eq!(seen.get(), Some(ErrorKind::ConnectionRefused));
    let sent: Vec<SocketAddrV4> = vec![from, to];
    assert_eq!(
        replay.heard.borrow()[0],
        Decoded::Udp(sent[0], sent[1], expected)
    );
}
