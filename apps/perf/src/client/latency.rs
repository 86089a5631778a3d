//! Request and response of one byte.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Context;
use hdrhistogram::Histogram;

use super::ClientOptions;
use crate::protocol::{Request, Task};
use crate::report::Line;

/// Exchanges before the measurement, so that caches and clocks are warm.
const WARM_UP: u32 = 200;
/// Longest exchange that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Exchanges one byte at a time over one connection.
pub(super) fn run(options: &ClientOptions) -> anyhow::Result<Line> {
    let mut stream = options.connect()?;
    let request = Request {
        task: Task::Echo,
        piece_bytes: 1,
        duration: options.duration(),
    };
    stream.write_all(&request.to_bytes())?;
    stream.set_nonblocking(options.spin)?;
    for _ in 0..WARM_UP {
        exchange(&mut stream)?;
    }
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3)?;
    let start = Instant::now();
    let mut before = start;
    while before - start < options.duration() {
        exchange(&mut stream)?;
        let now = Instant::now();
        histogram.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    let microseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Line::new("latency", &options.label)
        .word("client", if options.spin { "spins" } else { "sleeps" })
        .number("exchanges", histogram.len())
        .fraction("p50_us", microseconds(0.5))
        .fraction("p90_us", microseconds(0.9))
        .fraction("p99_us", microseconds(0.99))
        .fraction("p999_us", microseconds(0.999))
        .fraction("max_us", histogram.max() as f64 / 1e3)
        .fraction("mean_us", histogram.mean() / 1e3))
}

fn exchange(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(&[1]).context("cannot send")?;
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => anyhow::bail!("the server closed the connection"),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error).context("no answer"),
        }
    }
}
