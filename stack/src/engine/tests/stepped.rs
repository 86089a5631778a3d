//! Two stacks in virtual time, joined by a wire with a delay.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outlive_driver::memory;
use parking_lot::Mutex;

use super::{at, capabilities, config, pattern};
use crate::counters::Counter;
use crate::engine::{Permit, Stack, Stepped, Topology};
use crate::packet::RxFrame;
use crate::socket::{TcpListener, TcpStream, asynchronous};
use crate::time::Instant;

const DELAY: Duration = Duration::from_millis(5);

pub(super) struct World {
    now: Instant,
    hosts: [Stepped; 2],
    /// When a frame arrives, at which host.
    wire: VecDeque<(Instant, usize, RxFrame)>,
    /// True if the wire is cut.
    cut: bool,
}

impl World {
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    pub(super) const fn cut(&mut self) {
        self.cut = true;
    }

    /// Goes to the next moment at which anything happens, and lets it happen; false when nothing ever
    /// will.
    pub(super) fn step(&mut self) -> bool {
        let deadlines = self.hosts.iter().filter_map(Stepped::next_deadline);
        let next = deadlines
            .chain(self.wire.front().map(|frame| frame.0))
            .min();
        let Some(next) = next else {
            return false;
        };
        self.now = self.now.max(next);
        while self.wire.front().is_some_and(|frame| frame.0 <= self.now) {
            let (_, host, frame) = self.wire.pop_front().unwrap();
            self.hosts[host].receive(self.now, &mut vec![frame]);
        }
        for host in 0..2 {
            let mut out = VecDeque::new();
            self.hosts[host].poll(self.now, &mut out);
            for frame in out.iter().filter(|_| !self.cut) {
                let arrival = (self.now + DELAY, 1 - host, memory::received(frame));
                self.wire.push_back(arrival);
            }
        }
        true
    }
}

fn world_with(change: impl Fn(&mut crate::engine::Config)) -> (Arc<Mutex<World>>, Stack, Stack) {
    let start = Instant::from_millis(1000);
    let hosts = [1, 2].map(|n| {
        let mut config = config(n, Topology::default());
        change(&mut config);
        Stepped::new(&capabilities(n, n == 1), config, start).unwrap()
    });
    let (a, b) = (hosts[0].stack(), hosts[1].stack());
    let world = Arc::new(Mutex::new(World {
        now: start,
        hosts,
        wire: VecDeque::new(),
        cut: false,
    }));
    for host in 0..2 {
        let inner = Arc::downgrade(&world);
        world.lock().hosts[host]
            .on_wait(move || inner.upgrade().is_some_and(|world| world.lock().step()));
    }
    (world, a, b)
}

pub(super) fn world() -> (Arc<Mutex<World>>, Stack, Stack) {
    world_with(|_| ())
}

#[test]
fn bytes_go_both_ways_through_blocking_sockets() {
    let (_world, a, b) = world();
    let listener = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let mut client = TcpStream::connect(&a, "10.7.0.2:80").unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    client.write_all(b"question").unwrap();
    let mut buffer = [0; 8];
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"question");
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut buffer[..6]).unwrap();
    assert_eq!(&buffer[..6], b"answer");
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 0);
    client.write_all(b"more").unwrap();
    drop(client);
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"more");
}

#[test]
fn tasks_move_a_megabyte_each_way_in_virtual_time() {
    let (world, a, b) = world();
    let sent = pattern(1, 1 << 20);
    let listener = asynchronous::TcpListener::bind(&b, at(2, 7)).unwrap();
    b.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        loop {
            let bytes = stream.recv_bytes(1 << 16).await.unwrap();
            if bytes.is_empty() {
                return;
            }
            stream.send(bytes).await.unwrap();
        }
    })
    .detach();
    let received = Arc::new(Mutex::new(Vec::new()));
    let (into, to_send) = (Arc::clone(&received), sent.clone());
    let stack = a.clone();
    a.spawn(async move {
        let stream = asynchronous::TcpStream::connect(&stack, at(2, 7))
            .await
            .unwrap();
        let writer = stream.clone();
        stream
            .spawn(async move {
                writer.send(to_send.into()).await.unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            })
            .detach();
        let mut buffer = [0; 4096];
        loop {
            let taken = stream.read(&mut buffer).await.unwrap();
            if taken == 0 {
                return;
            }
            into.lock().extend_from_slice(&buffer[..taken]);
        }
    })
    .detach();
    let start = world.lock().now;
    while received.lock().len() < sent.len() {
        assert!(
            world.lock().step(),
            "stuck at {} bytes",
            received.lock().len()
        );
        assert!(world.lock().now.since(start) < Duration::from_secs(20));
    }
    assert_eq!(*received.lock(), sent);
}

#[test]
fn time_outs_come_at_their_time_in_virtual_time() {
    let (world, a, b) = world();
    let _listener = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let client = TcpStream::connect(&a, "10.7.0.2:80").unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let before = world.lock().now;
    let error = (&client).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(world.lock().now.since(before), Duration::from_millis(700));
    world.lock().cut = true;
    let before = world.lock().now;
    let timeout = Duration::from_secs(3);
    let error = TcpStream::connect_timeout(&a, &at(2, 80), timeout).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(world.lock().now.since(before), timeout);
}

#[test]
fn a_closed_port_refuses_and_unread_data_resets() {
    let (_world, a, b) = world();
    let error = TcpStream::connect(&a, "10.7.0.2:81").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let listener = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let mut client = TcpStream::connect(&a, "10.7.0.2:80").unwrap();
    let (server, _) = listener.accept().unwrap();
    client.write_all(b"nobody reads this").unwrap();
    server.peek(&mut [0]).unwrap();
    drop(server);
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(client.take_error().unwrap().is_some());
}

#[test]
fn a_host_talks_to_itself() {
    let (_world, a, _b) = world();
    for to in ["10.7.0.1:80", "127.0.0.1:80"] {
        let listener = TcpListener::bind(&a, to).unwrap();
        let mut client = TcpStream::connect(&a, to).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"self").unwrap();
        let mut buffer = [0; 4];
        server.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"self");
    }
}

#[test]
fn without_permission_there_is_silence() {
    struct Never;
    impl Permit for Never {
        fn may_send(&self, _now: Instant) -> bool {
            false
        }
    }
    let (world, a, _b) = world_with(|config| config.permit = Arc::new(Never));
    let timeout = Duration::from_secs(10);
    TcpStream::connect_timeout(&a, &at(2, 80), timeout).unwrap_err();
    assert!(world.lock().wire.is_empty());
    assert!(a.counters().get(Counter::TcpTurnsWithheld) > 0);
    assert_eq!(a.counters().get(Counter::TcpTxSegments), 0);
}

#[test]
fn what_was_written_without_permission_leaves_when_it_is_back_and_was_not_sent_before() {
    #[derive(Default)]
    struct Lease(AtomicBool);
    impl Permit for Lease {
        fn may_send(&self, _now: Instant) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
    let lease = Arc::new(Lease(AtomicBool::new(true)));
    let permit = Arc::clone(&lease);
    let (world, a, b) = world_with(move |config| config.permit = Arc::clone(&permit) as _);
    let listener = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let mut client = TcpStream::connect(&a, "10.7.0.2:80").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let sent = || a.counters().get(Counter::TcpTxSegments);
    let before = sent();
    lease.0.store(false, Ordering::Relaxed);
    client.write_all(b"kept").unwrap();
    let until = world.lock().now() + Duration::from_secs(3);
    while world.lock().now() < until {
        assert!(world.lock().step());
    }
    assert_eq!(sent(), before);
    lease.0.store(true, Ordering::Relaxed);
    // Nobody says so: whoever waits has a look by itself.
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"kept");
    assert!(world.lock().now() <= until + Duration::from_millis(200));
    assert_eq!(a.counters().get(Counter::TcpRetransmittedSegments), 0);
}

#[test]
fn shutdown_ends_connections_properly_and_then_by_force() {
    let (world, a, b) = world();
    let listener = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let mut client = TcpStream::connect(&a, "10.7.0.2:80").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"last words").unwrap();
    // The client does not close, so the server cannot end properly; yet its data and FIN arrive.
    assert!(!b.shutdown(Duration::from_secs(5)));
    let mut buffer = [0; 10];
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"last words");
    while world.lock().step() {}
    assert!(b.core().tcp.is_quiet());
    assert!(TcpStream::connect(&a, "10.7.0.2:80").is_err());
}
