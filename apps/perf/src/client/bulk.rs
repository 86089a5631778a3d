//! Bulk transfer over one or several connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::ClientOptions;
use crate::protocol::{Request, Task};
use crate::report::Line;
use crate::sockets;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client to the server.
    Send,
    /// From the server to the client.
    Receive,
}

/// What one connection moved, and when.
struct Moved {
    bytes: u64,
    from: Instant,
    to: Instant,
    retransmitted_segments: u64,
}

/// Measures all connections at once: bytes that arrived, from the first start to the last end.
pub(super) fn run(options: &ClientOptions, direction: Direction) -> anyhow::Result<Line> {
    let streams = (0..options.connections).map(|_| options.connect());
    let streams = streams.collect::<anyhow::Result<Vec<_>>>()?;
    let start = Barrier::new(streams.len());
    let moved = thread::scope(|scope| {
        let workers: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    match direction {
                        Direction::Send => send(options, stream),
                        Direction::Receive => receive(options, stream),
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    report(options, direction, &moved)
}

fn send(options: &ClientOptions, mut stream: TcpStream) -> anyhow::Result<Moved> {
    let piece = vec![0x5A; options.write_size as usize];
    let from = Instant::now();
    stream.write_all(&request(options, Task::Discard))?;
    let mut bytes = 0;
    while from.elapsed() < options.duration() {
        stream
            .write_all(&piece)
            .context("the connection broke while sending")?;
        bytes += piece.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut received = [0; 8];
    stream
        .read_exact(&mut received)
        .context("the server did not say how much it received")?;
    let to = Instant::now();
    let received = u64::from_be_bytes(received);
    ensure!(
        received == bytes,
        "sent {bytes} bytes, the server received {received}"
    );
    Ok(Moved {
        bytes,
        from,
        to,
        retransmitted_segments: sockets::retransmitted_segments(stream.as_fd())?,
    })
}

fn receive(options: &ClientOptions, mut stream: TcpStream) -> anyhow::Result<Moved> {
    let mut piece = vec![0; options.write_size as usize];
    let from = Instant::now();
    stream.write_all(&request(options, Task::Send))?;
    let mut bytes = 0;
    loop {
        let read = stream.read(&mut piece);
        match read.context("the connection broke while receiving")? {
            0 => break,
            n => bytes += n as u64,
        }
    }
    Ok(Moved {
        bytes,
        from,
        to: Instant::now(),
        retransmitted_segments: 0,
    })
}

fn request(options: &ClientOptions, task: Task) -> [u8; crate::protocol::REQUEST_LEN] {
    let request = Request {
        task,
        piece_bytes: options.write_size,
        duration: options.duration(),
    };
    request.to_bytes()
}

fn report(options: &ClientOptions, direction: Direction, moved: &[Moved]) -> anyhow::Result<Line> {
    let from = moved.iter().map(|one| one.from).min();
    let to = moved.iter().map(|one| one.to).max();
    let (from, to) = from.zip(to).context("no connection")?;
    let seconds = (to - from).as_secs_f64();
    let bytes: u64 = moved.iter().map(|one| one.bytes).sum();
    let slowest = moved.iter().map(|one| one.bytes).min().unwrap_or(0);
    let retransmitted: u64 = moved.iter().map(|one| one.retransmitted_segments).sum();
    ensure!(bytes > 0, "no byte arrived");
    let name = match direction {
        Direction::Send => "bulk_send",
        Direction::Receive => "bulk_receive",
    };
    let fair_share = bytes as f64 / moved.len() as f64;
    let line = Line::new(name, &options.label)
        .number("connections", options.connections)
        .number("write_bytes", options.write_size)
        .fraction("seconds", seconds)
        .number("bytes", bytes)
        .fraction("gbit_per_s", bytes as f64 * 8e-9 / seconds)
        .fraction("slowest_of_fair_share", slowest as f64 / fair_share);
    Ok(match direction {
        Direction::Send => line.number("client_retransmissions", retransmitted),
        Direction::Receive => line,
    })
}
