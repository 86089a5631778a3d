//! The same session as a task.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock"
)]

use std::io;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::protocol::{REQUEST_LEN, Request, Task};

/// Serves one connection to its end, which it announces.
pub(super) async fn session<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
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
        Task::Send => send(stream, &piece, request).await?,
        Task::Echo => echo(stream, &mut piece).await?,
    }
    stream.shutdown().await
}

async fn discard<S>(stream: &mut S, piece: &mut [u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut received = 0_u64;
    loop {
        match stream.read(piece).await? {
            0 => return stream.write_all(&received.to_be_bytes()).await,
            n => received += n as u64,
        }
    }
}

async fn send<S>(stream: &mut S, piece: &[u8], request: Request) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let start = Instant::now();
    while start.elapsed() < request.duration {
        stream.write_all(piece).await?;
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
