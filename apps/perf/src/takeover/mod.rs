//! What it costs to take over many connections: two servers, the real ones, in one process and on one thread,
//! in real time, over a wire in memory; their clients are made of header fields. More connections fit here than
//! a kernel gives descriptors to.
//!
//! The first server serves all of them, tells the second one what it commits, and is heard of no more. What is
//! measured begins with the view that makes the second one primary.

mod clients;
mod pair;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use outlive::engine::clock;
use outlive::socket::ReplayOptions;
use outlive::time::Instant;
use outlive_video::server::{Config, Server};
use outlive_video::transport::outlive as transport;
use tokio::runtime::Builder;

use crate::report::Line;
use clients::Clients;
use pair::Pair;

/// Bytes of the film: what is sent of it, and something left.
const FILM_BYTES: u64 = GIGABYTE + (64 << 20);
const GIGABYTE: u64 = 1 << 30;
/// How long a takeover may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the connections are doing when their server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// Nothing: a request was answered
    Idle,
    /// At the beginning of a long response
    Fresh,
    /// A gigabyte into a response
    Gigabyte,
}

/// Options of `outlive perf takeover`.
#[derive(Args, Debug)]
pub struct TakeoverOptions {
    /// What the connections are doing when their server goes
    #[arg(value_enum)]
    scene: Scene,

    /// Connections
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,

    /// A word to find the line of JSON by
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

/// Opens all connections on one server, has the other one take over, and prints a line of JSON.
///
/// # Errors
/// When a connection does not go on.
pub(crate) fn run(options: &TakeoverOptions) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("no folder for the film")?;
    let path = make_film(folder.path(), options.scene)?;
    let count = options.connections as usize;
    let mut pair = Pair::new(Clients::new(count, path))?;
    // One for both: two would read the film twice, to the same end.
    let mut config = Config::new(folder.path().to_owned());
    config.connections = 2 * count;
    let server = Server::start(config)?;
    // So that nobody waits for a digest.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server.catalogue());
    for host in 0..2 {
        let address = SocketAddr::from((pair::SERVICE, pair::PORT));
        let replay = ReplayOptions::default();
        transport::start(&server, &pair.stack(host), address, replay)?;
    }
    pair.open(PATIENCE)?;
    if options.scene == Scene::Gigabyte {
        pair.advance(GIGABYTE);
    }
    println!("{}", measure(options, &mut pair)?);
    Ok(())
}

/// Something small, or something long with nothing in it; its path.
fn make_film(folder: &Path, scene: Scene) -> anyhow::Result<&'static str> {
    if scene == Scene::Idle {
        std::fs::write(folder.join("small"), [0x5A; 1000])?;
        return Ok("/small");
    }
    File::create(folder.join("film"))?.set_len(FILM_BYTES)?;
    Ok("/film")
}

fn measure(options: &TakeoverOptions, pair: &mut Pair) -> anyhow::Result<Line> {
    let streams = options.scene != Scene::Idle;
    let count = options.connections as usize;
    let journal_bytes = pair.status().journal_bytes / count;
    pair.clients.begin_watch();
    let (start, cpu) = (clock::now(), cpu_time()?);
    pair.take_over(start);
    let served = clock::now();
    let (mut probed, mut heard, mut sent) = (None, None, None);
    while heard.is_none() || (streams && sent.is_none()) {
        pair.turn(1, clock::now());
        let now = clock::now();
        let seen = pair.clients.seen();
        let all = |at: &mut Option<Instant>, n: usize| {
            if at.is_none() && n == count {
                *at = Some(now);
            }
        };
        all(&mut probed, seen.probed);
        all(&mut heard, seen.answered);
        all(&mut sent, seen.served);
        ensure!(
            now.since(start) < PATIENCE,
            "of {count} connections only {} were probed, {} heard and {} sent on: {:?}",
            seen.probed,
            seen.answered,
            seen.served,
            pair.status()
        );
    }
    let spent = cpu_time()?.saturating_sub(cpu + pair.clients.spent());
    let ms = |at: Option<Instant>| at.map_or(0.0, |at| at.since(start).as_secs_f64() * 1e3);
    let adopted = pair.status().takeover.map_or(0, |it| it.adopted);
    ensure!(adopted == count, "{adopted} of {count} were taken over");
    let line = Line::new("takeover", &options.label)
        .number("connections", count)
        .number("journal_bytes_each", journal_bytes)
        .fraction("serve_ms", ms(Some(served)))
        .fraction("probed_ms", ms(probed))
        .fraction("heard_ms", ms(heard));
    let line = if streams {
        line.fraction("sent_ms", ms(sent))
    } else {
        line
    };
    Ok(line.fraction("cpu_us_each", spent.as_secs_f64() * 1e6 / count as f64))
}

/// Processor time of this process so far.
fn cpu_time() -> anyhow::Result<Duration> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(time.into())
}
