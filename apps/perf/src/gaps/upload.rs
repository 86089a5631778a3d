//! One long PUT. Progress is what the server acknowledges.
//!
//! Paced, it stays below the window: something new can always be sent, so that the server's answers show
//! what is missing. In a flood everything that may be on its way is, and nothing more can be sent before
//! an acknowledgement.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::Plan;
use super::acks::Acks;
use super::clock::Progress;

/// Between two pieces.
const TICK: Duration = Duration::from_millis(10);
/// What all floods together may have on their way, and one of them at least and at most, in bytes.
const FLOOD_BYTES: usize = 4 << 20;
const LEAST_BYTES: usize = 8 << 10;
const MOST_BYTES: usize = 64 << 10;

/// At the steady rate of the plan.
pub(super) async fn paced(
    plan: &Plan,
    index: usize,
    mut stream: TcpStream,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let bytes = plan.options.rate * TICK.as_millis() as u64 / 8000;
    let piece = chunk(bytes.max(1) as usize);
    let acks = begin(plan, index, &mut stream).await?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        note(&acks, &stream, progress, piece.len());
        stream.write_all(&piece).await.context("broke")?;
    }
}

/// As fast as the window allows.
pub(super) async fn flood(
    plan: &Plan,
    index: usize,
    mut stream: TcpStream,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let window = FLOOD_BYTES / usize::from(plan.options.connections);
    let window = window.clamp(LEAST_BYTES, MOST_BYTES);
    setsockopt(&stream.as_fd(), SndBuf, &window).context("SO_SNDBUF")?;
    let piece = chunk(window / 4);
    let acks = begin(plan, index, &mut stream).await?;
    loop {
        stream.write_all(&piece).await.context("broke")?;
        note(&acks, &stream, progress, piece.len());
    }
}

/// A chunk of a body (RFC 9112 §7.1).
fn chunk(bytes: usize) -> Vec<u8> {
    let mut chunk = format!("{bytes:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + bytes, 0x5A);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

async fn begin(plan: &Plan, index: usize, stream: &mut TcpStream) -> anyhow::Result<Acks> {
    let acks = Acks::watch(stream).context("the kernel does not note acknowledgements")?;
    let head = format!(
        "PUT {}{index} HTTP/1.1\r\nHost: gaps\r\nTransfer-Encoding: chunked\r\n\r\n",
        plan.options.path
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(acks)
}

fn note(acks: &Acks, stream: &TcpStream, progress: &mut Progress, bytes: usize) {
    while let Some(at) = acks.next(stream) {
        progress.step(at, bytes as u64);
    }
}
