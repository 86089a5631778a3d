//! The same small request again and again on one connection. A gap is the time from a request to the end
//! of its answer.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::clock::Progress;

pub(super) async fn run(
    plan: &Plan,
    stream: TcpStream,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let request = format!("GET {} HTTP/1.1\r\nHost: gaps\r\n\r\n", plan.options.path);
    let mut stream = BufReader::with_capacity(4096, stream);
    let mut body = Vec::new();
    loop {
        progress.pause(Instant::now());
        stream.write_all(request.as_bytes()).await?;
        let length = answer(&mut stream, &mut body).await.context("broke")?;
        progress.step(Instant::now(), length as u64);
        sleep(Duration::from_millis(plan.options.think_ms)).await;
    }
}

/// Reads a whole response; the length of its body.
async fn answer(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> anyhow::Result<usize> {
    let (mut length, mut line) = (0, String::new());
    let mut first = true;
    loop {
        line.clear();
        ensure!(
            stream.read_line(&mut line).await? > 0,
            "the server closed the connection"
        );
        ensure!(!first || line.starts_with("HTTP/1.1 2"), "refused: {line}");
        first = false;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("Content-Length")?;
        }
    }
    body.resize(length, 0);
    stream.read_exact(body).await?;
    Ok(length)
}
