//! Sockets over two hosts whose packets are carried by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use outlive_driver::Capabilities;
use proptest::prelude::*;

use super::*;
use crate::counters::{Counter, Counters};
use crate::ethernet::complete_checksum;
use crate::ip::{self, Cast, ErrorKind, Ip, IpReader, IpWriter, RxPacket, TxDatagram};
use crate::random::Random;
use crate::time::Instant;

const NOW: Instant = Instant::from_millis(5_000);
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 255);

struct Host {
    udp: Arc<Udp>,
    udp_reader: UdpReader,
    ip: Arc<Ip>,
    ip_reader: IpReader,
    ip_writer: IpWriter,
    counters: Arc<Counters>,
}

impl Host {
    fn new(address: impl Into<IpAddr>) -> Self {
        Self::with(&[address.into()])
    }

    fn with(addresses: &[IpAddr]) -> Self {
        let config = ip::Config {
            addresses: addresses
                .iter()
                .map(|&address| ip::Cidr::new(address, 24).unwrap())
                .collect(),
            ..ip::Config::default()
        };
        let counters = Arc::new(Counters::default());
        let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500);
        let ip = Arc::new(Ip::new(
            config,
            &capabilities,
            Arc::clone(&counters),
            [5; 16],
        ));
        let udp = Arc::new(Udp::new(
            Config::default(),
            Arc::clone(&ip),
            Arc::clone(&counters),
            Random::from_seed(3),
        ));
        Self {
            udp_reader: UdpReader::new(Arc::clone(&udp)),
            udp,
            ip_reader: IpReader::new(Arc::clone(&ip)),
            ip_writer: IpWriter::new(Arc::clone(&ip)),
            ip,
            counters,
        }
    }

    fn bind(&self, local: impl Into<SocketAddr>) -> Arc<Socket> {
        self.udp.bind(local.into()).unwrap()
    }

    /// What leaves for the wire, complete.
    fn send(&mut self, datagrams: impl IntoIterator<Item = TxDatagram>) -> Vec<RxPacket> {
        let (mut packets, mut loopback) = (Vec::new(), Vec::new());
        let mut datagrams = datagrams.into_iter().collect();
        self.ip_writer
            .process(NOW, &mut datagrams, &mut packets, &mut loopback);
        let sent = packets.into_iter().map(|mut packet| {
            complete_checksum(&mut packet.frame);
            RxPacket {
                data: packet.frame.to_vec().into(),
                ..RxPacket::default()
            }
        });
        sent.chain(loopback).collect()
    }

    /// Takes packets; what the host answers and whom it wakes.
    fn receive(
        &mut self,
        packets: impl IntoIterator<Item = RxPacket>,
    ) -> (Vec<RxPacket>, Vec<Waker>) {
        let mut up = ip::Outcome::default();
        self.ip_reader
            .process(NOW, &mut packets.into_iter().collect(), &mut up);
        let mut outcome = Outcome::default();
        self.udp_reader
            .process(NOW, &mut up.udp, &mut up.errors, &mut outcome);
        assert!(up.udp.is_empty() && up.errors.is_empty());
        (self.send(outcome.datagrams), outcome.wakers)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }
}

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn next(socket: &Socket) -> Option<Bytes> {
    socket.try_recv_from().map(|result| result.unwrap().data)
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_datagram_arrives_with_its_addresses_and_is_answered() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let server = b.bind(at(Ipv4Addr::UNSPECIFIED, 53));
    let client = a.bind(at(A, 0));
    client.set_tos(0xb8);
    client.set_ttl(9);
    let query = client.send_to(data("query"), at(B, 53)).unwrap();
    b.receive(a.send([query]));
    let received = server.try_recv_from().unwrap().unwrap();
    let expected = Received {
        data: data("query"),
        from: client.local_addr(),
        to: B.into(),
        ttl: 9,
        tos: 0xb8,
        at: NOW,
    };
    assert_eq!(received, expected);
    let answer = server.send_to(data("answer"), received.from).unwrap();
    a.receive(b.send([answer]));
    assert_eq!(next(&client), Some(data("answer")));
    assert!(client.try_recv_from().is_none());
}

#[test]
fn sockets_on_one_host_reach_each_other() {
    let mut a = Host::new(A);
    let server = a.bind(at(Ipv4Addr::LOCALHOST, 53));
    let client = a.bind(at(Ipv4Addr::UNSPECIFIED, 0));
    let query = client
        .send_to(data("query"), at(Ipv4Addr::LOCALHOST, 53))
        .unwrap();
    let looped = a.send([query]);
    a.receive(looped);
    assert_eq!(next(&server), Some(data("query")));
}

#[test]
fn the_most_specific_socket_gets_it() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let any = b.bind(at(Ipv4Addr::UNSPECIFIED, 53));
    let specific = b.bind(at(B, 53));
    let client = a.bind(at(A, 1000));
    let other = a.bind(at(A, 1001));
    let mut query = |socket: &Socket| {
        let query = socket.send_to(data("query"), at(B, 53)).unwrap();
        b.receive(a.send([query]));
    };
    query(&client);
    assert_eq!((next(&any), next(&specific)), (None, Some(data("query"))));
    any.connect(at(A, 1000)).unwrap();
    query(&client);
    assert_eq!((next(&any), next(&specific)), (Some(data("query")), None));
    query(&other);
    assert_eq!((next(&any), next(&specific)), (None, Some(data("query"))));
    drop(specific);
    query(&other);
    assert_eq!(next(&any), None, "connected to another");
    any.disconnect();
    query(&other);
    assert_eq!(next(&any), Some(data("query")));
}

#[test]
fn addresses_are_taken_once_and_freed_when_dropped_or_closed() {
    let a = Host::new(A);
    let bind = |local| a.udp.bind(local);
    let first = bind(at(A, 53)).unwrap();
    assert_eq!(bind(at(A, 53)).unwrap_err(), Error::AddressInUse(at(A, 53)));
    drop(first);
    let second = bind(at(A, 53)).unwrap();
    second.close();
    let third = bind(at(A, 53)).unwrap();
    drop(second);
    assert_eq!(
        bind(at(A, 53)).unwrap_err(),
        Error::AddressInUse(at(A, 53)),
        "the third is still there"
    );
    drop(third);
    assert_eq!(
        bind(at(B, 53)).unwrap_err(),
        Error::AddressNotLocal(B.into())
    );
}

#[test]
fn ephemeral_ports_are_all_used_before_there_is_none() {
    let a = Host::new(A);
    let sockets: Vec<_> = (0..16_384).map(|_| a.bind(at(A, 0))).collect();
    assert!(
        sockets
            .iter()
            .all(|socket| socket.local_addr().port() >= 49_152)
    );
    assert_eq!(a.udp.bind(at(A, 0)).unwrap_err(), Error::NoPort);
}

#[test]
fn nobody_there_is_reported_to_a_connected_sender() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let client = a.udp.connect(at(B, 53)).unwrap();
    assert_eq!(client.local_addr().ip(), A);
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(
        client
            .poll_recv_from(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let query = client.send(data("query")).unwrap();
    let (errors, _) = b.receive(a.send([query]));
    assert_eq!(b.count(Counter::UdpDropNoSocket), 1);
    let (_, wakers) = a.receive(errors);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    let error = Error::Icmp {
        kind: ErrorKind::PortUnreachable,
        destination: at(B, 53),
    };
    assert_eq!(client.try_recv_from(), Some(Err(error)));
    assert_eq!(client.try_recv_from(), None, "once");
}

#[test]
fn an_unconnected_sender_is_told_only_if_it_wants_to_know() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let client = a.bind(at(A, 0));
    for wanted in [false, true] {
        client.set_report_errors(wanted);
        let query = client.send_to(data("query"), at(B, 53)).unwrap();
        let (errors, _) = b.receive(a.send([query]));
        a.receive(errors);
        assert_eq!(client.take_error().is_some(), wanted);
    }
    assert_eq!(a.count(Counter::IcmpDropIgnored), 1);
}

#[test]
fn errors_about_strangers_datagrams_change_nothing() {
    let mut a = Host::new(A);
    let error = |port: u16| ip::IcmpError {
        kind: ErrorKind::TooBig { mtu: 600 },
        reporter: B.into(),
        source: A.into(),
        destination: B.into(),
        protocol: 17,
        quoted: Bytes::from([&port.to_be_bytes()[..], &[0, 53, 0, 20, 0, 0]].concat()),
    };
    let client = a.udp.connect(at(B, 53)).unwrap();
    let port = client.local_addr().port();
    let tcp = ip::IcmpError {
        protocol: 6,
        ..error(1)
    };
    let mut errors = vec![error(port ^ 1), tcp];
    let mut outcome = Outcome::default();
    a.udp_reader
        .process(NOW, &mut Vec::new(), &mut errors, &mut outcome);
    assert_eq!(errors.len(), 1, "what is about TCP is left to TCP");
    assert_eq!(a.ip.mtu(B.into()), 1500);
    a.udp_reader
        .process(NOW, &mut Vec::new(), &mut vec![error(port)], &mut outcome);
    assert_eq!(a.ip.mtu(B.into()), 600);
    assert_eq!(client.take_error(), None, "datagrams are cut from now on");
    client.set_may_fragment(false);
    a.udp_reader
        .process(NOW, &mut Vec::new(), &mut vec![error(port)], &mut outcome);
    assert!(matches!(client.take_error(), Some(Error::Icmp { .. })));
}

#[test]
fn broadcasts_reach_all_who_listen_and_are_never_answered() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let any = b.bind(at(Ipv4Addr::UNSPECIFIED, 67));
    let network = b.bind(at(NETWORK, 67));
    let specific = b.bind(at(B, 67));
    let client = a.bind(at(A, 68));
    let denied = client.send_to(data("x"), at(NETWORK, 67)).unwrap_err();
    assert_eq!(denied, Error::BroadcastNotAllowed(NETWORK.into()));
    client.set_broadcast(true);
    for port in [67, 69] {
        let hello = client.send_to(data("hello"), at(NETWORK, port)).unwrap();
        let packets = a.send([hello]).into_iter().map(|packet| RxPacket {
            cast: Cast::Broadcast,
            ..packet
        });
        let (answers, _) = b.receive(packets);
        assert!(answers.is_empty());
    }
    assert_eq!((next(&any), next(&any)), (Some(data("hello")), None));
    assert_eq!(next(&network), Some(data("hello")));
    assert_eq!(next(&specific), None);
    assert_eq!(b.count(Counter::UdpDropNoSocket), 1);
}

#[test]
fn a_full_queue_drops_what_comes_and_keeps_what_is_there() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let server = b.bind(at(B, 53));
    server.set_receive_bytes(10 * (128 + 100));
    let client = a.bind(at(A, 0));
    for n in 0..30_u8 {
        let datagram = client.send_to(vec![n; 100].into(), at(B, 53)).unwrap();
        b.receive(a.send([datagram]));
    }
    assert_eq!(b.count(Counter::UdpDropFull), 20);
    let kept: Vec<_> = std::iter::from_fn(|| next(&server))
        .map(|data| data[0])
        .collect();
    assert_eq!(kept, (0..10).collect::<Vec<_>>());
    let datagram = client.send_to(data("again"), at(B, 53)).unwrap();
    b.receive(a.send([datagram]));
    assert_eq!(next(&server), Some(data("again")));
}

#[test]
fn damaged_datagrams_are_dropped() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let server = b.bind(at(B, 53));
    let client = a.bind(at(A, 1000));
    let good = a
        .send([client.send_to(data("data"), at(B, 53)).unwrap()])
        .remove(0);
    for at in 20..good.data.len() {
        let mut bytes = good.data.to_vec();
        bytes[at] ^= 0x40;
        b.receive([RxPacket {
            data: bytes.into(),
            ..good.clone()
        }]);
    }
    assert_eq!(next(&server), None);
    let counted = b.count(Counter::UdpDropChecksum) + b.count(Counter::UdpDropMalformed);
    assert_eq!(counted, 12);
    // A sender that made no checksum says so with zero (RFC 768).
    let mut bytes = good.data.to_vec();
    bytes[26..28].fill(0);
    b.receive([RxPacket {
        data: bytes.into(),
        ..good
    }]);
    assert_eq!(next(&server), Some(data("data")));
}

#[test]
fn merged_datagrams_are_seen_as_they_were_sent() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let server = b.bind(at(B, 53));
    let client = a.bind(at(A, 1000));
    let merged = a
        .send([client.send_to(data("abcabcab"), at(B, 53)).unwrap()])
        .remove(0);
    b.receive([RxPacket {
        segmentation: Some(crate::packet::Segmentation {
            kind: crate::packet::SegmentationKind::Udp,
            size: 3,
            header_len: 28,
            ecn: false,
        }),
        ..merged
    }]);
    let seen: Vec<_> = std::iter::from_fn(|| next(&server)).collect();
    assert_eq!(seen, [data("abc"), data("abc"), data("ab")]);
}

#[test]
fn what_cannot_be_sent_says_why() {
    let a = Host::new(A);
    let socket = a.bind(at(A, 0));
    assert_eq!(socket.send(data("x")).unwrap_err(), Error::NotConnected);
    assert_eq!(
        socket
            .send_to(vec![0; 65_508].into(), at(B, 1))
            .unwrap_err(),
        Error::TooLarge {
            len: 65_508,
            max: 65_507
        }
    );
    assert!(socket.send_to(vec![0; 65_507].into(), at(B, 1)).is_ok());
    let v6: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
    for bad in [at(B, 0), at(Ipv4Addr::UNSPECIFIED, 53), v6] {
        assert_eq!(
            socket.send_to(data("x"), bad).unwrap_err(),
            Error::BadDestination(bad)
        );
    }
    let far = at([203, 0, 113, 9], 53);
    let no_route = ip::NoRoute {
        destination: far.ip(),
    };
    assert_eq!(
        socket.send_to(data("x"), far).unwrap_err(),
        Error::NoRoute(no_route)
    );
    socket.close();
    assert_eq!(
        socket.send_to(data("x"), at(B, 1)).unwrap_err(),
        Error::Closed
    );
    assert_eq!(socket.try_recv_from(), Some(Err(Error::Closed)));
}

#[test]
fn waiting_tasks_are_woken_once_each() {
    let (mut a, mut b) = (Host::new(A), Host::new(B));
    let server = b.bind(at(B, 53));
    let client = a.bind(at(A, 0));
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&wakes));
    for _ in 0..3 {
        assert!(
            server
                .poll_recv_from(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    let both: Vec<_> = (0..2)
        .map(|_| client.send_to(data("x"), at(B, 53)).unwrap())
        .collect();
    let (_, wakers) = b.receive(a.send(both));
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    let mut cx = Context::from_waker(&waker);
    assert!(matches!(server.poll_peek_from(&mut cx), Poll::Ready(Ok(_))));
    assert_eq!(
        (next(&server), next(&server), next(&server)),
        (Some(data("x")), Some(data("x")), None)
    );
}

proptest! {
    #[test]
    fn any_length_arrives_in_fragments_if_need_be(len in 0..20_000_usize, seed: u64) {
        let (mut a, mut b) = (Host::new(A), Host::new(B));
        let server = b.bind(at(B, 53));
        let client = a.bind(at(A, 0));
        let mut random = Random::from_seed(seed);
        let bytes: Bytes = (0..len).map(|_| random.next_u32() as u8).collect();
        let packets = a.send([client.send_to(bytes.clone(), at(B, 53)).unwrap()]);
        prop_assert!(packets.iter().all(|packet| packet.data.len() <= 1500));
        b.receive(packets);
        prop_assert_eq!(next(&server), Some(bytes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..60), segment: u16) {
        let mut b = Host::new(B);
        let _server = b.bind(at(B, 53));
        let mut datagrams = vec![ip::Datagram {
            source: A.into(),
            destination: B.into(),
            protocol: 17,
            tos: 0,
            ttl: 1,
            cast: Cast::Unicast,
            payload: payload.clone().into(),
            checksum_ok: true,
            segment_bytes: Some(segment),
            original: vec![0; 28].into(),
        }];
        let mut errors = vec![ip::IcmpError {
            kind: ErrorKind::PortUnreachable,
            reporter: A.into(),
            source: B.into(),
            destination: A.into(),
            protocol: 17,
            quoted: payload.into(),
        }];
        b.udp_reader.process(NOW, &mut datagrams, &mut errors, &mut Outcome::default());
    }
}

const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

#[test]
fn datagrams_of_any_size_travel_over_ipv6_too() {
    let (mut a, mut b) = (Host::new(A6), Host::new(B6));
    let (client, server) = (a.bind(at(A6, 4000)), b.bind(at(Ipv6Addr::UNSPECIFIED, 53)));
    for len in [0, 1, 1452, 1453, 60_000] {
        let text = Bytes::from(vec![b'x'; len]);
        let sent = client.send_to(text.clone(), at(B6, 53)).unwrap();
        let packets = a.send([sent]);
        assert_eq!(packets.len() > 1, len > 1452, "cut by its sender");
        b.receive(packets);
        let received = server.try_recv_from().unwrap().unwrap();
        assert_eq!((received.data, received.from), (text, at(A6, 4000)));
        assert_eq!(received.to, IpAddr::from(B6));
    }
}

#[test]
fn a_checksum_is_no_choice_in_ipv6() {
    let (mut a, mut b) = (Host::new(A6), Host::new(B6));
    let (client, _server) = (a.bind(at(A6, 4000)), b.bind(at(B6, 53)));
    let sent = client.send_to(data("question"), at(B6, 53)).unwrap();
    let mut bytes = a.send([sent])[0].data.to_vec();
    bytes[46..48].fill(0);
    b.receive([RxPacket {
        data: bytes.into(),
        ..RxPacket::default()
    }]);
    assert_eq!(b.count(Counter::UdpDropChecksum), 1);
}

#[test]
fn nobody_on_an_ipv6_port_is_told_to_the_sender() {
    let (mut a, mut b) = (Host::new(A6), Host::new(B6));
    let client = a.udp.connect(at(B6, 99)).unwrap();
    let packets = a.send([client.send(data("hello?")).unwrap()]);
    let (errors, _) = b.receive(packets);
    a.receive(errors);
    let expected = Error::Icmp {
        kind: ErrorKind::PortUnreachable,
        destination: at(B6, 99),
    };
    assert_eq!(client.take_error(), Some(expected));
}

#[test]
fn a_socket_on_all_ipv6_addresses_speaks_both_families() {
    let (v4, v6) = ([A.into(), A6.into()], [B.into(), B6.into()]);
    let (mut a, mut b) = (Host::with(&v4), Host::with(&v6));
    let both = b.bind(at(Ipv6Addr::UNSPECIFIED, 53));
    for (from, to) in [(IpAddr::from(A), IpAddr::from(B)), (A6.into(), B6.into())] {
        let client = a.bind(at(from, 4000));
        let packets = a.send([client.send_to(data("question"), at(to, 53)).unwrap()]);
        b.receive(packets);
        let received = both.try_recv_from().unwrap().unwrap();
        assert_eq!(received.from, at(from, 4000));
        let packets = b.send([both.send_to(data("answer"), received.from).unwrap()]);
        a.receive(packets);
        let answer = client.try_recv_from().unwrap().unwrap();
        assert_eq!((answer.data, answer.from), (data("answer"), at(to, 53)));
    }
    let ipv4 = b.bind(at(Ipv4Addr::UNSPECIFIED, 53));
    let client = a.bind(at(A, 4001));
    let packets = a.send([client.send_to(data("x"), at(B, 53)).unwrap()]);
    b.receive(packets);
    assert!(both.try_recv_from().is_none(), "another is nearer");
    assert!(ipv4.try_recv_from().is_some());
    let refused = ipv4.send_to(data("x"), at(A6, 1));
    assert_eq!(refused.unwrap_err(), Error::BadDestination(at(A6, 1)));
}
