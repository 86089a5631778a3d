//! The measuring server: the same sessions on our stack and on the kernel's, blocking or as tasks.

mod blocking;
mod kernel;
mod outlive;
mod tasks;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Args, ValueEnum};
use outlive_app::{NetworkOptions, StackKind};

/// How connections are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// A thread per connection, blocking calls.
    Blocking,
    /// A task per connection on one thread.
    #[default]
    Tasks,
}

/// Options of `outlive perf serve`.
#[derive(Args, Debug)]
pub struct ServeOptions {
    /// Port to listen on
    #[arg(long, default_value_t = 5001)]
    port: u16,

    /// How connections are served
    #[arg(long, value_enum, default_value_t)]
    style: Style,

    #[command(flatten)]
    network: NetworkOptions,
}

/// Serves until interrupted.
pub(crate) fn run(options: &ServeOptions) -> anyhow::Result<()> {
    match options.network.stack {
        StackKind::Kernel => {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), options.port);
            kernel::serve(address, options.style, options.network.congestion)
        }
        StackKind::Outlive => outlive::serve(options),
    }
}
