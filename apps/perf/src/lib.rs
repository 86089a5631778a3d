//! Measures bulk transfer, request/response and connection rate.
//!
//! `outlive perf serve` answers on our stack or on the kernel's, with the same code; `outlive perf client`
//! asks, always on the kernel's sockets, and prints one line of JSON per measurement. So one client
//! program measures every stack, and two stacks differ in nothing but themselves.

mod client;
mod protocol;
mod server;
mod sockets;

use clap::Subcommand;

pub use client::ClientOptions;
pub use server::ServeOptions;

/// What `outlive perf` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer measurements: discard, send, echo
    Serve(ServeOptions),
    /// Measure a server; prints one line of JSON
    Client(ClientOptions),
}

/// Does what the command line says.
///
/// # Errors
/// When the device cannot be opened, the server cannot be reached, or a connection breaks.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => server::run(&options),
        Command::Client(options) => client::run(&options),
    }
}
