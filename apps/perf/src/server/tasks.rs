//! The same session as a task.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock"
)]

use std::future::Future;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::protocol::{REQUEST_LEN, Request, Task};

/// How bulk data goes through a stream, in the best way that its stack offers.
pub(super) trait Bulk: AsyncRead + AsyncWrite + Unpin + Send {
    /// Sends all of `piece`.
    fn give(&mut self, piece: &Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// Receives up to as much as `room` holds, there or elsewhere; 0 at the end.
    fn take(&mut self, room: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

/// Serves one connection to its end, which it announces.
pub(super) async fn session(stream: &mut impl Bulk) -> io::Result<()> {
    let mut request = [0; REQUEST_LEN];
    if stream.read(&mut request[..1]).await? == 0 {
        return Ok(());
    }
    stream.read_exact(&mut request[1..]).await?;
    let Ok(request) = Request::from_bytes(request) else {
        return Ok(());
    };
    let mut piece = vec![0; request.piece_bytes as usize];
    match request.task {
        Task::Discard => discard(stream, &mut piece).await?,
        Task::Send => send(stream, &piece.into(), request).await?,
        Task::Echo => echo(stream, &mut piece).await?,
    }
    stream.shutdown().await
}

async fn discard(stream: &mut impl Bulk, piece: &mut [u8]) -> io::Result<()> {
    let mut received = 0_u64;
    loop {
        match stream.take(piece).await? {
            0 => return stream.write_all(&received.to_be_bytes()).await,
            n => received += n as u64,
        }
    }
}

async fn send(stream: &mut impl Bulk, piece: &Bytes, request: Request) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < request.duration {
        stream.give(piece).await?;
    }
    Ok(())
}

async fn echo<S>(stream: &mut S, piece: &mut [u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match stream.read(piece).await? {
            0 => return Ok(()),
            n => stream.write_all(&piece[..n]).await?,
        }
    }
}
