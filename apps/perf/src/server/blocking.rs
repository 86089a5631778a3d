//! A session with blocking calls, over any stream.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock"
)]

use std::io::{self, Read, Write};
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::{REQUEST_LEN, Request, Task};

/// How bulk data goes through a stream, in the best way that its stack offers.
pub(super) trait Bulk: Read + Write {
    /// Sends all of `piece`.
    fn give(&mut self, piece: &Bytes) -> io::Result<()>;

    /// Receives up to as much as `room` holds, there or elsewhere; 0 at the end.
    fn take(&mut self, room: &mut [u8]) -> io::Result<usize>;
}

/// Serves one connection to its end. A stream is closed by dropping it, which the caller does.
pub(super) fn session(stream: &mut impl Bulk) -> io::Result<()> {
    let mut request = [0; REQUEST_LEN];
    if stream.read(&mut request[..1])? == 0 {
        return Ok(());
    }
    stream.read_exact(&mut request[1..])?;
    let Ok(request) = Request::from_bytes(request) else {
        return Ok(());
    };
    let mut piece = vec![0; request.piece_bytes as usize];
    match request.task {
        Task::Discard => discard(stream, &mut piece),
        Task::Send => send(stream, &piece.into(), request),
        Task::Echo => echo(stream, &mut piece),
    }
}

fn discard(stream: &mut impl Bulk, piece: &mut [u8]) -> io::Result<()> {
    let mut received = 0_u64;
    loop {
        match stream.take(piece)? {
            0 => return stream.write_all(&received.to_be_bytes()),
            n => received += n as u64,
        }
    }
}

fn send(stream: &mut impl Bulk, piece: &Bytes, request: Request) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < request.duration {
        stream.give(piece)?;
    }
    Ok(())
}

fn echo(stream: &mut (impl Read + Write), piece: &mut [u8]) -> io::Result<()> {
    loop {
        match stream.read(piece)? {
            0 => return Ok(()),
            n => stream.write_all(&piece[..n])?,
        }
    }
}
