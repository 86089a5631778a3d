//! Two hosts on loopback: what is sent arrives, in order and once, and what was not sent does not.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests of the shell, with real sockets and threads"
)]

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use outlive_cluster::link::{Event, MOST_MESSAGE_BYTES};
use outlive_cluster::{Channel, PathId};
use socket2::{Domain, Socket, Type};
use support::{Host, PATIENCE, Told, address, until};

const HEARTBEAT: Channel = Channel::Heartbeat(PathId(0));

/// Two hosts with one path and the same key.
fn pair() -> (Host, Host) {
    let addresses = [address(), address()];
    let first = Host::start(0, 7, &addresses[..1], &addresses[1..]);
    let second = Host::start(1, 7, &addresses[1..], &addresses[..1]);
    (first, second)
}

fn connected() -> (Host, Host) {
    let (first, second) = pair();
    first.wait_for(&Told::Connected(true));
    second.wait_for(&Told::Connected(true));
    (first, second)
}

/// Sends heartbeats until one arrives: the first are before the session.
fn heartbeats_pass(from: &Host, to: &Host) {
    until("a heartbeat arrives", || {
        from.send(HEARTBEAT, "beat");
        to.told
            .try_recv()
            .is_ok_and(|told| told == Told::Received(HEARTBEAT, Bytes::from_static(b"beat")))
    });
}

#[test]
fn messages_of_every_size_arrive_in_order_on_their_channel() {
    let (first, second) = connected();
    let sizes = [0, 1, 100, 65_519, 65_520, 1 << 20, MOST_MESSAGE_BYTES, 5];
    for channel in [Channel::Commit, Channel::Bulk] {
        for (from, to) in [(&first, &second), (&second, &first)] {
            for (tag, size) in (1u8..).zip(sizes) {
                from.send(channel, vec![tag; size]);
            }
            for (tag, size) in (1u8..).zip(sizes) {
                assert_eq!(to.next(), Told::Received(channel, vec![tag; size].into()));
            }
        }
    }
}

#[test]
fn heartbeats_pass_on_every_path_both_ways() {
    let addresses: Vec<_> = (0..4).map(|_| address()).collect();
    let first = Host::start(0, 7, &addresses[..2], &addresses[2..]);
    let second = Host::start(1, 7, &addresses[2..], &addresses[..2]);
    for path in [PathId(0), PathId(1)] {
        for (from, to) in [(&first, &second), (&second, &first)] {
            until("a heartbeat arrives", || {
                from.send(Channel::Heartbeat(path), "beat");
                to.told.try_recv().is_ok_and(|told| {
                    told == Told::Received(Channel::Heartbeat(path), Bytes::from_static(b"beat"))
                })
            });
        }
    }
}

#[test]
fn a_host_with_another_key_gets_nothing_through() {
    let addresses = [address(), address()];
    let first = Host::start(0, 7, &addresses[..1], &addresses[1..]);
    let stranger = Host::start(1, 8, &addresses[1..], &addresses[..1]);
    // Both kinds of handshake are refused, again and again.
    until("refusals", || stranger.count(Event::RefusedKey) > 5);
    first.send(Channel::Commit, "x");
    stranger.send(Channel::Commit, "x");
    first.send(HEARTBEAT, "x");
    assert_eq!(
        first.count(Event::Connected) + stranger.count(Event::Connected),
        0
    );
    assert!(first.told.try_recv().is_err() && stranger.told.try_recv().is_err());
    drop(stranger);
    let second = Host::start(1, 7, &addresses[1..], &addresses[..1]);
    first.wait_for(&Told::Connected(true));
    heartbeats_pass(&first, &second);
}

#[test]
fn a_host_that_is_started_again_is_connected_again() {
    let addresses = [address(), address()];
    let start = |me: usize| {
        let (mine, others) = (&addresses[me..=me], &addresses[1 - me..=1 - me]);
        Host::start(me as u8, 7, mine, others)
    };
    let mut hosts = [Some(start(0)), Some(start(1))];
    for restarted in [1, 0, 1] {
        let [first, second] = hosts.each_ref().map(|host| host.as_ref().unwrap());
        until("both connected", || {
            let [one, two] = [(first, 1), (second, 0)]
                .map(|(host, peer)| host.links.is_connected(outlive_cluster::HostId(peer)));
            one && two
        });
        first.send(Channel::Commit, "hello");
        second.wait_for(&Told::Received(Channel::Commit, "hello".into()));
        heartbeats_pass(second, first);
        hosts[restarted] = None;
        let left = hosts[1 - restarted].as_ref().unwrap();
        left.wait_for(&Told::Connected(false));
        left.send(Channel::Commit, "into the void");
        hosts[restarted] = Some(start(restarted));
        let left = hosts[1 - restarted].as_ref().unwrap();
        left.wait_for(&Told::Connected(true));
    }
}

#[test]
fn the_end_of_a_process_is_noticed_at_once_and_told() {
    let (first, second) = connected();
    heartbeats_pass(&first, &second);
    drop(second);
    until("the death is told", || {
        first.send(HEARTBEAT, "beat");
        first.told.try_recv().is_ok_and(|told| told == Told::Died)
    });
}

/// Bytes of which it can be told how many there are.
struct Held(
    Vec<u8>,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn a_host_that_takes_nothing_loses_its_channel_and_holds_nobody_up() {
    let (first, second) = connected();
    second.frozen.store(true, Ordering::Release);
    let held = Arc::new(());
    let mut most = 0;
    until("the channel breaks", || {
        let chunk = Held(vec![0; 1 << 20], Arc::clone(&held));
        first.send(Channel::Commit, Bytes::from_owner(chunk));
        most = most.max(Arc::strong_count(&held) - 1);
        first.count(Event::Overflows) == 1
    });
    assert!(
        (1..200).contains(&most),
        "{most} MiB were held for a host that takes nothing"
    );
    first.wait_for(&Told::Connected(false));
    // It is tried again, and works as soon as the other host does.
    second.frozen.store(false, Ordering::Release);
    first.wait_for(&Told::Connected(true));
    until("something arrives", || {
        first.send(Channel::Commit, "again");
        let told = second.told.try_recv();
        told.is_ok_and(|told| told == Told::Received(Channel::Commit, "again".into()))
    });
}

#[test]
fn a_snapshot_does_not_delay_what_is_committed() {
    let (first, second) = connected();
    for _ in 0..100 {
        first.send(Channel::Bulk, vec![1; 1 << 20]);
    }
    first.send(Channel::Commit, "urgent");
    let mut bulk = 0;
    loop {
        match second.next() {
            Told::Received(Channel::Commit, _) => break,
            Told::Received(Channel::Bulk, _) => bulk += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(bulk < 100, "the commit came after the whole snapshot");
}

#[test]
fn many_messages_pass_and_none_is_lost() {
    let (first, second) = connected();
    let message = Bytes::from(vec![3; 64 << 10]);
    for i in 0..2000 {
        // As a primary does: no more than a window without an answer.
        if i >= 200 {
            assert!(matches!(second.next(), Told::Received(Channel::Commit, _)));
        }
        first.send(Channel::Commit, message.clone());
    }
    for _ in 0..200 {
        assert_eq!(
            second.next(),
            Told::Received(Channel::Commit, message.clone())
        );
    }
    assert_eq!(first.count(Event::Broken), 0);
}

/// A connection from where a host is: those from elsewhere are closed unheard.
fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn connections_that_say_anything_else_are_refused_and_the_service_goes_on() {
    let addresses = [address(), address()];
    let first = Host::start(0, 7, &addresses[..1], &addresses[1..]);
    let second = Host::start(1, 7, &addresses[1..], &addresses[..1]);
    first.wait_for(&Told::Connected(true));
    let header = |purpose, from, to| [b'O', b'L', 1, purpose, from, to];
    let noise = [[0x55; 48].as_slice(), &[0xFF; 4000]].concat();
    let cases: [(&[u8], Event); 6] = [
        (b"GET / HTTP/1.0\r\n\r\n", Event::RefusedMalformed),
        (&header(9, 0, 1), Event::RefusedMalformed),
        (&header(1, 0, 0), Event::RefusedHost),
        (&header(1, 1, 1), Event::RefusedHost),
        (&header(1, 0, 1), Event::RefusedKey),
        (b"O", Event::RefusedSlow),
    ];
    for (greeting, event) in cases {
        let before = second.count(event);
        let mut socket = connect(addresses[0].ip(), addresses[1]);
        socket.write_all(greeting).unwrap();
        if event == Event::RefusedKey {
            let _ = socket.write_all(&noise);
        }
        until("it is counted", || second.count(event) > before);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Closed without a word.
        assert_eq!(socket.read(&mut [0; 100]).unwrap_or(0), 0);
    }
    let datagrams: [(&[u8], Event); 5] = [
        (b"", Event::RefusedMalformed),
        (b"OL\x01\x09\x00\x01", Event::RefusedMalformed),
        (b"OL\x01\x00\x05\x01", Event::RefusedHost),
        (
            &[b"OL\x01\x03\x00\x01".as_slice(), &[0; 60]].concat(),
            Event::RefusedSession,
        ),
        (
            &[b"OL\x01\x01\x00\x01".as_slice(), &[9; 52]].concat(),
            Event::RefusedKey,
        ),
    ];
    let socket = UdpSocket::bind((addresses[0].ip(), 0)).unwrap();
    for (datagram, event) in datagrams {
        let before = second.count(event);
        socket.send_to(datagram, addresses[1]).unwrap();
        until("it is counted", || second.count(event) > before);
    }
    first.send(Channel::Commit, "still here");
    second.wait_for(&Told::Received(Channel::Commit, "still here".into()));
    heartbeats_pass(&first, &second);
    assert_eq!(
        (first.count(Event::Broken), second.count(Event::Broken)),
        (0, 0)
    );
}
