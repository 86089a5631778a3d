//! What the sockets promise, in virtual time.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::at;
use super::stepped::{World, world};
use crate::counters::Counter;
use crate::engine::Stack;
use crate::socket::{TcpListener, TcpStream, UdpSocket, asynchronous};
use crate::tcp::{KeepAlive, State};

fn connected() -> (Arc<Mutex<World>>, Stack, Stack, TcpStream, TcpStream) {
    let (world, a, b) = world();
    let listener = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let client = TcpStream::connect(&a, "10.7.0.2:80").unwrap();
    let (server, _) = listener.accept().unwrap();
    (world, a, b, client, server)
}

#[test]
fn several_slices_are_one_write_and_one_read() {
    let (_world, _a, _b, mut client, mut server) = connected();
    let pieces = [
        IoSlice::new(b"one "),
        IoSlice::new(b""),
        IoSlice::new(b"two"),
    ];
    assert_eq!(client.write_vectored(&pieces).unwrap(), 7);
    assert_eq!(server.peek(&mut [0; 3]).unwrap(), 3);
    let (mut first, mut second) = ([0; 2], [0; 10]);
    let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(server.read_vectored(&mut into).unwrap(), 7);
    assert_eq!((&first, &second[..5]), (b"on", b"e two".as_slice()));
}

#[test]
fn a_clone_is_the_same_connection_until_the_last_is_dropped() {
    let (world, _a, _b, client, mut server) = connected();
    let twin = client.try_clone().unwrap();
    drop(client);
    (&twin).write_all(b"still here").unwrap();
    let mut buffer = [0; 10];
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"still here");
    drop(twin);
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
    drop(server);
    while world.lock().step() {}
}

#[test]
fn a_nonblocking_socket_never_waits() {
    let (_world, _a, _b, mut client, _server) = connected();
    client.set_nonblocking(true).unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let mut taken = 0;
    let error = loop {
        match client.write(&[7; 100_000]) {
            Ok(n) => taken += n,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(taken > 0);
}

#[test]
fn linger_waits_for_delivery_and_without_time_resets() {
    let (world, a, _b, mut client, server) = connected();
    client.write_all(&[1; 50_000]).unwrap();
    client.set_linger(Some(Duration::from_secs(30)));
    let before = world.lock().now();
    drop(client);
    assert!(world.lock().now() > before, "waited");
    assert_eq!(a.counters().get(Counter::TcpResetsSent), 0);
    assert_eq!(server.info().receive_queue_bytes, 50_000);
    server.set_linger(Some(Duration::ZERO));
    drop(server);
    while world.lock().step() {}
    assert_eq!(a.counters().get(Counter::TcpResetsReceived), 1);
}

#[test]
fn a_dead_peer_is_noticed_by_keep_alive() {
    let (world, _a, _b, mut client, _server) = connected();
    let keep_alive = KeepAlive {
        idle: Duration::from_secs(10),
        interval: Duration::from_secs(2),
        probes: 3,
    };
    client.set_keepalive(Some(keep_alive));
    assert_eq!(client.keepalive(), Some(keep_alive));
    world.lock().cut();
    let before = world.lock().now();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let took = world.lock().now().since(before);
    assert!(
        took >= Duration::from_secs(14) && took <= Duration::from_secs(17),
        "{took:?}"
    );
}

#[test]
fn options_are_kept_and_wrong_ones_refused() {
    let (_world, _a, _b, client, _server) = connected();
    client.set_nodelay(true).unwrap();
    client.set_ttl(7).unwrap();
    assert!(client.nodelay().unwrap());
    assert_eq!(client.ttl().unwrap(), 7);
    assert_eq!(
        client.set_ttl(0).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        client.set_ttl(256).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let zero = client.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    assert!(client.take_error().unwrap().is_none());
    client.shutdown(Shutdown::Both).unwrap();
    let error = (&client).write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    assert_ne!(client.info().state, State::Established);
}

#[test]
fn an_address_in_use_or_foreign_is_refused() {
    let (_world, _a, b) = world();
    let first = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    let error = TcpListener::bind(&b, "10.7.0.2:80").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let error = TcpListener::bind(&b, "192.0.2.1:80").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    drop(first);
    let again = TcpListener::bind(&b, "10.7.0.2:80").unwrap();
    assert_eq!(again.local_addr().unwrap(), at(2, 80));
}

#[test]
fn datagrams_and_what_icmp_says_about_them() {
    let (world, a, b) = world();
    let server = UdpSocket::bind(&b, "0.0.0.0:53").unwrap();
    let client = UdpSocket::bind(&a, "0.0.0.0:0").unwrap();
    client.send_to(b"question", at(2, 53)).unwrap();
    let mut buffer = [0; 100];
    let (taken, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..taken], b"question");
    server.send_to(b"answer", from).unwrap();
    let (taken, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..taken], from), (b"answer".as_slice(), at(2, 53)));
    // A large one goes in fragments.
    let large = super::pattern(5, 20_000);
    client.send_to(&large, at(2, 53)).unwrap();
    assert_eq!(server.recv_bytes().unwrap().0, large);
    client.connect(at(2, 54)).unwrap();
    client.send(b"anybody?").unwrap();
    let error = client.recv(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    client
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let before = world.lock().now();
    let error = client.recv(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(world.lock().now().since(before), Duration::from_millis(100));
}

#[test]
fn a_task_that_sleeps_wakes_at_its_time() {
    let (world, a, _b) = world();
    let woken = Arc::new(AtomicU64::new(0));
    let (stack, into) = (a.clone(), Arc::clone(&woken));
    let start = world.lock().now();
    a.spawn(async move {
        stack.sleep(Duration::from_micros(12_345)).await;
        into.store(
            stack.now().since(start).as_micros() as u64,
            Ordering::Relaxed,
        );
    })
    .detach();
    while world.lock().step() {}
    assert_eq!(woken.load(Ordering::Relaxed), 12_345);
}

#[test]
fn a_task_may_not_block_its_own_thread() {
    let (world, a, _b) = world();
    let seen = Arc::new(Mutex::new(None));
    let (stack, into) = (a.clone(), Arc::clone(&seen));
    a.spawn(async move {
        let error = TcpStream::connect(&stack, "10.7.0.2:80").unwrap_err();
        *into.lock() = Some(error.kind());
    })
    .detach();
    while seen.lock().is_none() {
        assert!(world.lock().step());
    }
    assert_eq!(*seen.lock(), Some(ErrorKind::Deadlock));
}

#[test]
fn asynchronous_datagrams() {
    let (world, a, b) = world();
    let server = asynchronous::UdpSocket::bind(&b, at(2, 53)).unwrap();
    b.spawn(async move {
        loop {
            let (bytes, from) = server.recv_bytes().await.unwrap();
            server.send_bytes(bytes, Some(from)).await.unwrap();
        }
    })
    .detach();
    let client = asynchronous::UdpSocket::bind(&a, at(1, 0)).unwrap();
    let echoed = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&echoed);
    a.spawn(async move {
        client.send_to(b"ping", at(2, 53)).await.unwrap();
        let mut buffer = [0; 10];
        let (taken, from) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!(from, at(2, 53));
        into.lock().extend_from_slice(&buffer[..taken]);
    })
    .detach();
    while echoed.lock().is_empty() {
        assert!(world.lock().step());
    }
    assert_eq!(*echoed.lock(), b"ping");
}
