//! Many HTTP clients on one thread: what tests of failover look through.
//!
//! Downloads read one file of the server, uploads send the same file to its sink. Each is one connection, and
//! every byte that arrives is compared with the file at once. How far they may go is told on standard input, so that
//! no connection ends before what the test has in mind for it has happened:
//!
//! | input | meaning | answer |
//! |---|---|---|
//! | a number | so many bytes of each body, no more | `half`: so much of what is new has passed; `all`: all of it |
//! | the end | to the end of the file | `whole N`: so many transfers ended well |
//!
//! What breaks is named on standard error, and ends the program: the exit code is not zero. The connections are the kernel's, or
//! those of the `smoltcp` crate on a TAP interface.

mod foreign;
mod gate;
mod kernel;
mod transfer;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use gate::Gate;
use transfer::{Kind, Transfer};

/// HTTP clients that go as far as they are told.
#[derive(Parser)]
struct Options {
    /// Address and port of the server
    server: SocketAddrV4,
    /// What is uploaded, and what the server serves under the same name
    file: PathBuf,
    /// Connections that download
    #[arg(long, default_value_t = 0)]
    downloads: usize,
    /// Connections that upload
    #[arg(long, default_value_t = 0)]
    uploads: usize,
    /// Bytes of the buffers of each connection, either way, instead of the kernel's choice
    #[arg(long)]
    buffer: Option<usize>,
    /// End the own direction as soon as all is said, while the answer is still to come
    #[arg(long)]
    half_close: bool,
    /// Use the `smoltcp` crate on this TAP interface
    #[arg(long, requires = "address")]
    tap: Option<String>,
    /// The address of `smoltcp`, in a network of 24 bits
    #[arg(long)]
    address: Option<Ipv4Addr>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let content = std::fs::read(&options.file).context("cannot read the file")?;
    let name = options.file.file_name().unwrap_or_default();
    let name = name.to_str().context("a name that is no text")?;
    let kinds = std::iter::repeat_n(Kind::Download, options.downloads)
        .chain(std::iter::repeat_n(Kind::Upload, options.uploads));
    let transfers = (0..).zip(kinds);
    let transfers = transfers.map(|(number, kind)| Transfer::new(number, kind, name, &content));
    let mut transfers: Vec<_> = transfers.collect();
    match (&options.tap, options.address) {
        (Some(tap), Some(address)) => foreign::run(&options, tap, address, &mut transfers)?,
        _ => kernel::run(&options, &mut transfers)?,
    }
    let whole = transfers.iter().filter(|it| it.is_whole()).count();
    say(&format!("whole {whole}"))?;
    anyhow::ensure!(whole == transfers.len(), "not all transfers are whole");
    Ok(())
}

/// Says what has passed since it was said last.
fn tell(gate: &mut Gate, transfers: &mut [Transfer<'_>]) -> anyhow::Result<()> {
    // Nobody is to wait for the rest of those.
    let broken = transfers.iter().filter(|it| it.is_broken()).count();
    anyhow::ensure!(broken == 0, "{broken} transfers broke");
    if gate.is_time_to_stir() {
        transfers.iter_mut().for_each(Transfer::stir);
    }
    let moved = transfers.iter().map(Transfer::moved).sum();
    let limit = gate.limit();
    let all = transfers.iter().all(|it| it.has_reached(limit));
    gate.news(moved, all).try_for_each(say)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
