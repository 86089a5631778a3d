//! One long PUT at a steady rate, below the window. Progress is what the server acknowledges.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use super::Plan;
use super::clock::Progress;
use crate::sockets;

/// Between two pieces: a fifth of the gap that is to be seen.
const TICK: Duration = Duration::from_millis(10);

pub(super) async fn run(
    plan: &Plan,
    index: usize,
    mut stream: TcpStream,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let options = &plan.options;
    let piece = vec![0x5A; (options.rate as usize / 8 * TICK.as_millis() as usize / 1000).max(1)];
    let head = format!(
        "PUT {}{index} HTTP/1.1\r\nHost: gaps\r\nTransfer-Encoding: chunked\r\n\r\n",
        options.path
    );
    stream.write_all(head.as_bytes()).await?;
    let (mut ticks, mut acked) = (interval(TICK), 0);
    loop {
        ticks.tick().await;
        let now = sockets::bytes_acked(stream.as_fd()).context("broke")?;
        if now > acked {
            progress.step(Instant::now(), now - acked);
            acked = now;
        }
        stream
            .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
            .await?;
        stream.write_all(&piece).await?;
        stream.write_all(b"\r\n").await.context("broke")?;
    }
}
