//! New connections, again and again: each asks for something small and closes. A gap is the time from the
//! first SYN to the end of the answer. Where the SYN was lost the client's own first time-out, a second, has to
//! pass (RFC 6298 §2.1), whoever answers then: such connections are counted apart.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::clock::Progress;
use crate::sockets;

pub(super) async fn run(plan: &Plan, progress: &mut Progress) -> anyhow::Result<()> {
    let path = &plan.options.path;
    let request = format!("GET {path} HTTP/1.1\r\nHost: gaps\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    loop {
        progress.pause(Instant::now());
        let mut stream = TcpStream::connect(plan.options.to).await?;
        let syn_was_lost = sockets::retransmitted_segments(stream.as_fd())? > 0;
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        stream.read_to_end(&mut answer).await.context("broke")?;
        anyhow::ensure!(
            answer.starts_with(b"HTTP/1.1 2"),
            "refused: {}",
            String::from_utf8_lossy(&answer)
        );
        if syn_was_lost {
            progress.lost_syn(Instant::now());
        } else {
            progress.step(Instant::now(), answer.len() as u64);
        }
        sleep(Duration::from_millis(plan.options.think_ms)).await;
    }
}
