//! Two stacks with threads, joined in memory, in every topology.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::memory;

use super::{at, capabilities, config, pattern};
use crate::counters::Counter;
use crate::engine::{Stack, Topology};
use crate::socket::{TcpListener, TcpStream, asynchronous};

fn stacks(topology: Topology, offloads: bool) -> (Stack, Stack) {
    let (a, b) = memory::pair(&capabilities(1, offloads), &capabilities(2, offloads)).unwrap();
    (
        Stack::start(a, config(1, topology)).unwrap(),
        Stack::start(b, config(2, topology)).unwrap(),
    )
}

/// Runs the same test in both topologies, each with offloads and without.
macro_rules! in_all_topologies {
    ($($name:ident),* $(,)?) => {
        mod run_to_completion { $(#[test] fn $name() {
            for offloads in [true, false] {
                super::$name(super::Topology::RunToCompletion, offloads);
            }
        })* }
        mod pipeline { $(#[test] fn $name() {
            for offloads in [true, false] {
                super::$name(super::Topology::Pipeline, offloads);
            }
        })* }
    };
}

in_all_topologies!(
    bulk_arrives_whole_both_ways,
    many_connections_at_once,
    half_close_and_time_outs,
    tasks_serve_requests,
    shutdown_is_proper,
    idle_threads_sleep,
    writers_combine_and_lose_nothing,
    two_queues_share_the_connections,
    shutdown_sends_everybody_away,
    a_queue_is_served_after_its_driver_left,
);

/// A device with two queues, of which each end keeps a connection on one of its own choice.
fn two_queues_share_the_connections(topology: Topology, offloads: bool) {
    let pair = || memory::pair(&capabilities(1, offloads), &capabilities(2, offloads)).unwrap();
    let ((mut a, mut b), (second_a, second_b)) = (pair(), pair());
    a.queues.extend(second_a.queues);
    b.queues.extend(second_b.queues);
    let a = Stack::start(a, config(1, topology)).unwrap();
    let b = Stack::start(b, config(2, topology)).unwrap();
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    thread::scope(|scope| {
        for n in 0..8 {
            let client = TcpStream::connect(&a, at(2, 80)).unwrap();
            let (server, _) = listener.accept().unwrap();
            scope.spawn(move || transfer(&client, &server, 1_000_000 + n, n % 2 == 0));
        }
    });
    assert!(a.shutdown(Duration::from_secs(5)));
}

/// A thread that waited alone has driven the queue. Once it is gone, somebody else must receive what
/// comes, whether the wait was short or long.
fn a_queue_is_served_after_its_driver_left(topology: Topology, offloads: bool) {
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    let mut client = TcpStream::connect(&a, at(2, 80)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for wait_ms in [0, 1, 30, 0, 100] {
        if wait_ms > 0 {
            client
                .set_read_timeout(Some(Duration::from_millis(wait_ms)))
                .unwrap();
            assert!(client.read(&mut [0]).is_err());
            client.set_read_timeout(None).unwrap();
        }
        server.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        // Nobody waits from here on; the test only looks.
        server.write_all(&[7; 20_000]).unwrap();
        while client.info().receive_queue_bytes < 20_000 {
            thread::yield_now();
        }
        client.read_exact(&mut [0; 20_000]).unwrap();
    }
}

/// Whoever waits for a connection when the stack is shut down is told.
fn shutdown_sends_everybody_away(topology: Topology, offloads: bool) {
    let (a, b) = stacks(topology, offloads);
    let listener = asynchronous::TcpListener::bind(&b, at(2, 80)).unwrap();
    let streams: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(&a, at(2, 80)).unwrap())
        .collect();
    let (held, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (holding, count) = (Arc::clone(&held), Arc::clone(&ended));
    b.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, count) = (stream.clone(), Arc::clone(&count));
            let task = stream.spawn(async move {
                assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
                count.fetch_add(1, Ordering::Relaxed);
            });
            task.detach();
            holding.fetch_add(1, Ordering::Relaxed);
        }
        count.fetch_add(10, Ordering::Relaxed);
    })
    .detach();
    thread::scope(|scope| {
        for stream in &streams {
            scope.spawn(move || {
                let mut stream = stream;
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
                stream.shutdown(Shutdown::Write).unwrap();
            });
        }
        // As soon as all three tasks hold their streams.
        while held.load(Ordering::Relaxed) < 3 {
            thread::yield_now();
        }
        assert!(b.shutdown(Duration::from_secs(10)));
    });
    assert!(ended.load(Ordering::Relaxed) >= 10);
}

/// Moves `total` bytes from `from` to `to` and compares every one of them.
fn transfer(from: &TcpStream, to: &TcpStream, total: usize, zero_copy: bool) {
    let block = Bytes::from(pattern(total as u64, 1 << 20));
    thread::scope(|scope| {
        let sent = block.clone();
        scope.spawn(move || {
            let mut left = total;
            while left > 0 {
                let piece = sent.slice(..left.min(sent.len()));
                left -= piece.len();
                if zero_copy {
                    from.send(piece).unwrap();
                } else {
                    (&*from).write_all(&piece).unwrap();
                }
            }
            from.shutdown(Shutdown::Write).unwrap();
        });
        let mut buffer = vec![0; 256 << 10];
        let mut position = 0;
        loop {
            let taken = (&*to).read(&mut buffer).unwrap();
            if taken == 0 {
                break;
            }
            let mut checked = 0;
            while checked < taken {
                let at = (position + checked) % block.len();
                let run = (taken - checked).min(block.len() - at);
                assert_eq!(buffer[checked..checked + run], block[at..at + run]);
                checked += run;
            }
            position += taken;
        }
        assert_eq!(position, total);
    });
}

fn bulk_arrives_whole_both_ways(topology: Topology, offloads: bool) {
    const TOTAL: usize = 100_000_000;
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, "0.0.0.0:5000").unwrap();
    let client = TcpStream::connect(&a, at(2, 5000)).unwrap();
    let (server, _) = listener.accept().unwrap();
    let total = if offloads { TOTAL } else { TOTAL / 10 };
    transfer(&client, &server, total, true);
    transfer(&server, &client, total, false);
    assert_nothing_was_missing(client.info().retransmitted_segments, &b);
}

/// Every segment that was sent again was there already: a peer that got no time answers late. One that was not there had
/// stayed behind somewhere on its way.
fn assert_nothing_was_missing(sent_again: u32, receiver: &Stack) {
    let there_already = receiver.counters().get(Counter::TcpDropWindow);
    assert!(
        u64::from(sent_again) <= there_already,
        "{sent_again} segments were sent again, {there_already} had been there"
    );
}

fn many_connections_at_once(topology: Topology, offloads: bool) {
    const CONNECTIONS: usize = 200;
    const THREADS: usize = 8;
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().take(CONNECTIONS) {
                let mut stream = stream.unwrap();
                scope.spawn(move || {
                    let mut request = [0; 100];
                    stream.read_exact(&mut request).unwrap();
                    stream.write_all(&request).unwrap();
                });
            }
        });
        for worker in 0..THREADS {
            let a = &a;
            scope.spawn(move || {
                for n in 0..CONNECTIONS / THREADS {
                    let mut stream = TcpStream::connect(a, at(2, 80)).unwrap();
                    let request = pattern((worker * 1000 + n) as u64, 100);
                    stream.write_all(&request).unwrap();
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).unwrap();
                    assert_eq!(answer, request);
                }
            });
        }
    });
}

fn half_close_and_time_outs(topology: Topology, offloads: bool) {
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    let mut client = TcpStream::connect(&a, at(2, 80)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    // The client goes on reading after it has closed its side.
    client.set_read_timeout(None).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    let answer = pattern(3, 200_000);
    server.write_all(&answer).unwrap();
    drop(server);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == answer);
    // Writing fails once nobody takes it any more.
    let listener = TcpListener::bind(&b, at(2, 81)).unwrap();
    let client = TcpStream::connect(&a, at(2, 81)).unwrap();
    client
        .set_write_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let _unread = listener.accept().unwrap();
    let error = (&client).write_all(&vec![0; 64 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

fn tasks_serve_requests(topology: Topology, offloads: bool) {
    const CONNECTIONS: usize = 20;
    let (a, b) = stacks(topology, offloads);
    let listener = asynchronous::TcpListener::bind(&b, at(2, 80)).unwrap();
    b.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let server = stream.clone();
            let task = stream.spawn(async move {
                loop {
                    let bytes = server.recv_bytes(4096).await.unwrap();
                    if bytes.is_empty() {
                        return;
                    }
                    server.send(bytes).await.unwrap();
                }
            });
            task.detach();
        }
    })
    .detach();
    thread::scope(|scope| {
        for n in 0..CONNECTIONS {
            let a = &a;
            scope.spawn(move || {
                let mut stream = TcpStream::connect(a, at(2, 80)).unwrap();
                for round in 0..50 {
                    let request = pattern((n * 100 + round) as u64, 1 + round * 37);
                    stream.write_all(&request).unwrap();
                    let mut answer = vec![0; request.len()];
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, request);
                }
            });
        }
    });
    b.shutdown(Duration::from_secs(5));
}

fn shutdown_is_proper(topology: Topology, offloads: bool) {
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    let mut client = TcpStream::connect(&a, at(2, 80)).unwrap();
    let (server, _) = listener.accept().unwrap();
    let words = Bytes::from(pattern(9, 200_000));
    server.send(words.clone()).unwrap();
    let waiting = thread::spawn(move || listener.accept().map(|_| ()));
    let closing = thread::spawn(move || b.shutdown(Duration::from_secs(10)));
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == words, "what was written before is delivered");
    drop(client);
    assert!(closing.join().unwrap(), "the connection ended properly");
    assert!(waiting.join().unwrap().is_err(), "accept is sent away");
    let error = (&server).read(&mut [0]);
    assert!(error.is_err() || matches!(error, Ok(0)));
}

/// Asserts on counted sleeps: a thread that sleeps without a time-out is counted once, a thread that
/// wakes for nothing again and again.
fn idle_threads_sleep(topology: Topology, offloads: bool) {
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    let client = TcpStream::connect(&a, at(2, 80)).unwrap();
    let (server, _) = listener.accept().unwrap();
    let waiting = thread::spawn(move || (&server).read(&mut [0]).unwrap());
    // Long enough for handshake, announcements of the address and all timers in use to be over.
    let quiet = Duration::from_millis(2500);
    client.set_read_timeout(Some(quiet)).unwrap();
    assert!((&client).read(&mut [0]).is_err());
    let before = (a.sleeps_and_rings(), b.sleeps_and_rings());
    client
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!((&client).read(&mut [0]).is_err());
    let after = (a.sleeps_and_rings(), b.sleeps_and_rings());
    // The waiting client itself sleeps, drives and hands back; nothing else moves.
    assert!(after.0.0 - before.0.0 <= 12, "{before:?} {after:?}");
    assert!(after.1.0 - before.1.0 <= 2, "{before:?} {after:?}");
    drop(client);
    assert_eq!(waiting.join().unwrap(), 0);
}

/// Many threads write to their connections at once, and so meet at the writers' lock: whatever one of
/// them leaves to the holder has to leave too, since nothing else would ever send it.
fn writers_combine_and_lose_nothing(topology: Topology, offloads: bool) {
    const THREADS: usize = 8;
    const MESSAGES: usize = 3000;
    let (a, b) = stacks(topology, offloads);
    let listener = TcpListener::bind(&b, at(2, 80)).unwrap();
    let finished = Arc::new(AtomicUsize::new(0));
    let sent_again = Arc::new(AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (a, finished, sent_again) = (&a, Arc::clone(&finished), Arc::clone(&sent_again));
            scope.spawn(move || {
                let mut stream = TcpStream::connect(a, at(2, 80)).unwrap();
                stream.set_nodelay(true).unwrap();
                for n in 0..MESSAGES as u32 {
                    stream.write_all(&n.to_le_bytes()).unwrap();
                    if n % 16 == 15 {
                        // Everything so far has to be with the peer before the next burst: if a segment
                        // stayed behind, only a retransmission would bring it.
                        let mut answer = [0; 4];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(u32::from_le_bytes(answer), n);
                    }
                }
                sent_again.fetch_add(stream.info().retransmitted_segments, Ordering::Relaxed);
                finished.fetch_add(1, Ordering::Relaxed);
            });
        }
        for _ in 0..THREADS {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            scope.spawn(move || {
                let mut message = [0; 4];
                for n in 0..MESSAGES as u32 {
                    stream.read_exact(&mut message).unwrap();
                    assert_eq!(u32::from_le_bytes(message), n);
                    if n % 16 == 15 {
                        stream.write_all(&message).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(finished.load(Ordering::Relaxed), THREADS);
    assert_nothing_was_missing(sent_again.load(Ordering::Relaxed), &b);
}
