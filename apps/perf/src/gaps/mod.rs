//! How long a disturbance of the server leaves its clients without progress.
//!
//! Many connections to an HTTP server, on the kernel's sockets, on one thread. Each one downloads,
//! uploads or asks again and again, and notes the longest time in which nothing new came (of an upload:
//! in which nothing new was acknowledged; of a request, or of a new connection: how long its answer took). Whoever runs it kills, pauses or drains a server meanwhile; the
//! same figure of an undisturbed run is what to subtract.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock"
)]

mod acks;
mod clock;
mod download;
mod kernel;
mod opening;
mod request;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::report::Line;
use crate::sockets;
use clock::Progress;
use kernel::Counted;

/// Connections that are opened at a time: less than any sensible backlog.
const OPENING_AT_ONCE: usize = 64;
/// Descriptors beside those of the connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// Longest gap that is told apart, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// What each connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// GET once, read what comes
    Download,
    /// GET again and again on one connection
    Request,
    /// PUT, at a steady rate, below the window
    Upload,
    /// PUT, with as much on its way as the window allows
    UploadFull,
    /// Connect, GET something small, close; again and again
    Open,
}

/// Options of `outlive perf gaps`.
#[derive(Args, Debug)]
pub struct GapOptions {
    /// What each connection does
    #[arg(value_enum)]
    workload: Workload,

    /// Address and port of an HTTP server
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddr,

    /// What is downloaded, asked for, or uploaded to; an upload adds its number to it
    #[arg(long, value_name = "PATH")]
    path: String,

    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=19_000))]
    connections: u16,

    /// How long to look, once all connections are open
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,

    /// Bits per second of each upload below the window
    #[arg(long, value_name = "BITS", default_value_t = 2_000_000)]
    rate: u64,

    /// Time between an answer and the next request, or the next connection
    #[arg(long, value_name = "MS", default_value_t = 10)]
    think_ms: u64,

    /// A word to find the line of JSON by
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

/// What all connections know.
struct Plan {
    options: GapOptions,
    from: Instant,
    until: Instant,
}

/// Opens all connections, looks at them for a while, and prints a line of JSON. A line "looking" on
/// standard error says when the disturbance may begin.
///
/// # Errors
/// When a connection cannot be opened, or one breaks.
pub(crate) fn run(options: GapOptions) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let line = runtime
        .context("cannot start")?
        .block_on(measure(options))?;
    println!("{line}");
    Ok(())
}

async fn measure(options: GapOptions) -> anyhow::Result<Line> {
    sockets::allow_descriptors(u64::from(options.connections) + SPARE_DESCRIPTORS)?;
    let seconds = Duration::from_secs_f64(options.seconds.clamp(0.1, 3600.0));
    let streams = open(&options).await?;
    eprintln!("looking at {} connections", streams.len());
    let (from, before) = (Instant::now(), Counted::now());
    let plan = Arc::new(Plan {
        until: from + seconds,
        from,
        options,
    });
    let mut work = JoinSet::new();
    for (index, stream) in streams.into_iter().enumerate() {
        work.spawn(one(Arc::clone(&plan), index, stream));
    }
    let mut seen = Vec::new();
    let (mut broken, mut why) = (0, None);
    while let Some(result) = work.join_next().await {
        match result.context("a task panicked")? {
            Ok(progress) => seen.push(progress),
            Err(error) => {
                broken += 1;
                why.get_or_insert(error);
            }
        }
    }
    if let Some(error) = why {
        eprintln!("{broken} connections broke; the first: {error:#}");
    }
    report(&plan, &seen, broken, Counted::now().since(before))
}

/// All connections that there are from the beginning.
async fn open(options: &GapOptions) -> anyhow::Result<Vec<Option<TcpStream>>> {
    if options.workload == Workload::Open {
        return Ok((0..options.connections).map(|_| None).collect());
    }
    let mut streams = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..options.connections {
        if opening.len() >= OPENING_AT_ONCE {
            streams.extend(opened(&mut opening).await?);
        }
        opening.spawn(TcpStream::connect(options.to));
    }
    while let Some(stream) = opened(&mut opening).await? {
        streams.push(stream);
    }
    for stream in &streams {
        stream.set_nodelay(true)?;
    }
    Ok(streams.into_iter().map(Some).collect())
}

async fn opened(
    opening: &mut JoinSet<std::io::Result<TcpStream>>,
) -> anyhow::Result<Option<TcpStream>> {
    match opening.join_next().await {
        Some(result) => Ok(Some(result?.context("cannot connect")?)),
        None => Ok(None),
    }
}

async fn one(plan: Arc<Plan>, index: usize, stream: Option<TcpStream>) -> anyhow::Result<Progress> {
    // Spread over a tenth of a second: they are not to move in step.
    let start = plan.from
        + Duration::from_micros(100_000 * index as u64 / u64::from(plan.options.connections));
    sleep_until(start).await;
    let mut progress = Progress::new(start);
    let work = async {
        let Some(stream) = stream else {
            return opening::run(&plan, &mut progress).await;
        };
        match plan.options.workload {
            Workload::Download => download::run(&plan, stream, &mut progress).await,
            Workload::Request => request::run(&plan, stream, &mut progress).await,
            Workload::Upload => upload::paced(&plan, index, stream, &mut progress).await,
            Workload::UploadFull => upload::flood(&plan, index, stream, &mut progress).await,
            Workload::Open => Ok(()),
        }
    };
    match timeout_at(plan.until, work).await {
        Ok(ended) => ended?,
        Err(_time_is_up) => progress.end(plan.until),
    }
    Ok(progress)
}

fn report(plan: &Plan, seen: &[Progress], broken: usize, counted: Counted) -> anyhow::Result<Line> {
    ensure!(!seen.is_empty(), "every connection broke");
    let mut gaps = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
    for progress in seen {
        gaps.saturating_record(progress.longest().as_micros() as u64);
    }
    let longest = seen.iter().max_by_key(|progress| progress.longest());
    let (at, _) = longest.map_or((plan.from, Duration::ZERO), Progress::gap);
    let ms = |quantile| gaps.value_at_quantile(quantile) as f64 / 1e3;
    let workload = match plan.options.workload {
        Workload::Download => "download",
        Workload::Request => "request",
        Workload::Upload => "upload",
        Workload::UploadFull => "upload, full window",
        Workload::Open => "open",
    };
    Ok(Line::new("gaps", &plan.options.label)
        .word("workload", workload)
        .number("connections", seen.len() + broken)
        .number("broken", broken)
        .number(
            "lost_syns",
            seen.iter().map(Progress::lost_syns).sum::<u64>(),
        )
        .number("sent_again", counted.sent_again)
        .number("received_again", counted.received_again)
        .number("steps", seen.iter().map(Progress::steps).sum::<u64>())
        .number("bytes", seen.iter().map(Progress::bytes).sum::<u64>())
        .fraction("p50_ms", ms(0.5))
        .fraction("p99_ms", ms(0.99))
        .fraction("max_ms", gaps.max() as f64 / 1e3)
        .fraction("longest_began_s", (at - plan.from).as_secs_f64())
        .fraction("longest_began_unix_s", clock::unix_s(at)))
}
