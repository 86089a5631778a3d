//! The measuring client, on the kernel's sockets whatever the server stands on.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the peer of a measured stack is the kernel's; a measuring program reads the clock"
)]

mod bulk;
mod connections;
mod latency;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::report::Line;
use crate::sockets;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Gbit/s from client to server.
    BulkSend,
    /// Gbit/s from server to client.
    BulkReceive,
    /// Microseconds from a byte sent to a byte back.
    Latency,
    /// Connections opened and closed per second.
    Connections,
}

/// Options of `outlive perf client`.
#[derive(Args, Debug)]
pub struct ClientOptions {
    /// What to measure
    #[arg(value_enum)]
    measure: Measure,

    /// Address and port of the server
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddr,

    /// Connections at a time, each with a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,

    /// Bytes per write and read, on both sides (of bulk measures)
    #[arg(long, value_name = "BYTES", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    write_size: u32,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,

    /// Congestion control of the client's side
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    congestion: String,

    /// Ask the socket again and again instead of sleeping (of latency)
    #[arg(long)]
    spin: bool,

    /// A word to find the line of JSON by
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

impl ClientOptions {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0))
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.to)
            .with_context(|| format!("cannot connect to {}", self.to))?;
        stream.set_nodelay(true)?;
        sockets::set_congestion(stream.as_fd(), &self.congestion)
            .with_context(|| format!("the kernel does not let us choose {}", self.congestion))?;
        Ok(stream)
    }
}

/// Measures once and prints a line of JSON.
pub(crate) fn run(options: &ClientOptions) -> anyhow::Result<()> {
    println!("{}", measure(options)?);
    Ok(())
}

/// Measures once.
pub(crate) fn measure(options: &ClientOptions) -> anyhow::Result<Line> {
    match options.measure {
        Measure::BulkSend => bulk::run(options, bulk::Direction::Send),
        Measure::BulkReceive => bulk::run(options, bulk::Direction::Receive),
        Measure::Latency => latency::run(options),
        Measure::Connections => connections::run(options),
    }
}
