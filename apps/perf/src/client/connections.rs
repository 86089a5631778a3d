//! Connections opened and closed per second.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::ClientOptions;
use crate::report::Line;

/// Opens and closes connections on several threads. The client closes first, so that the TIME-WAIT state is
/// its own, and waits for the server's FIN: otherwise it would run ahead of what the server accepts, and
/// measure how a full accept queue drops.
pub(super) fn run(options: &ClientOptions) -> anyhow::Result<Line> {
    let threads = usize::from(options.connections);
    let start = Barrier::new(threads);
    let begin = Instant::now();
    let opened = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| open_and_close(options, &start)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
            .sum::<anyhow::Result<u64>>()
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Line::new("connections", &options.label)
        .number("connections", threads)
        .fraction("seconds", seconds)
        .number("opened", opened)
        .fraction("per_second", opened as f64 / seconds))
}

fn open_and_close(options: &ClientOptions, start: &Barrier) -> anyhow::Result<u64> {
    start.wait();
    let begin = Instant::now();
    let mut opened = 0;
    while begin.elapsed() < options.duration() {
        let mut stream = TcpStream::connect(options.to)
            .with_context(|| format!("cannot connect to {} ({opened} opened)", options.to))?;
        stream.shutdown(Shutdown::Write)?;
        let end = stream
            .read(&mut [0])
            .context("the server broke the connection")?;
        ensure!(end == 0, "the server sent something");
        opened += 1;
    }
    Ok(opened)
}
