//! Measures bulk transfer, request/response, connection rate, gaps in service, and taking over.
//!
//! `outlive perf serve` answers on our stack or on the kernel's, with the same code; `outlive perf client`
//! asks, always on the kernel's sockets, and prints one line of JSON per measurement. So one client
//! program measures every stack, and two stacks differ in nothing but themselves. `outlive perf gaps` looks at
//! the connections of an HTTP server while somebody disturbs it.

mod client;
mod gaps;
mod protocol;
mod report;
mod server;
mod sockets;
mod takeover;

use clap::Subcommand;

pub use client::ClientOptions;
pub use gaps::GapOptions;
pub use server::ServeOptions;
pub use takeover::TakeoverOptions;

/// What `outlive perf` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer measurements: discard, send, echo
    Serve(ServeOptions),
    /// Measure a server; prints one line of JSON
    Client(ClientOptions),
    /// See how long clients of an HTTP server wait while it is disturbed; prints one line of JSON
    Gaps(GapOptions),
    /// Measure taking over many connections, in one process; prints one line of JSON
    Takeover(TakeoverOptions),
}

/// Does what the command line says.
///
/// # Errors
/// When the device cannot be opened, the server cannot be reached, or a connection breaks.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => server::run(&options),
        Command::Client(options) => client::run(&options),
        Command::Gaps(options) => gaps::run(options),
        Command::Takeover(options) => takeover::run(&options),
    }
}
