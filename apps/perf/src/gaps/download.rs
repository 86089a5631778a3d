//! One response, read as it comes. The server should pace it: a client that reads slowly from a full
//! buffer would not see a gap.

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Plan;
use super::clock::Progress;

const READ_BYTES: usize = 64 << 10;

pub(super) async fn run(
    plan: &Plan,
    mut stream: TcpStream,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let request = format!("GET {} HTTP/1.1\r\nHost: gaps\r\n\r\n", plan.options.path);
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::new();
    loop {
        // Memory is held only while there is something to read: there may be 10,000 of us.
        stream.readable().await?;
        buffer.reserve(READ_BYTES);
        let read = stream.read_buf(&mut buffer).await.context("broke")?;
        ensure!(
            read > 0,
            "the server ended the response after {} bytes",
            progress.bytes()
        );
        if progress.steps() == 0 {
            ensure!(
                buffer.starts_with(b"HTTP/1.1 2"),
                "refused: {}",
                String::from_utf8_lossy(&buffer)
            );
        }
        progress.step(Instant::now(), read as u64);
        buffer = Vec::new();
    }
}
