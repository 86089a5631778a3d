//! The `outlive` command: the servers of the Outlive stack, one subcommand each.

mod catalogues;
mod cluster;
mod member;
mod video;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

/// Buffers of 64 KiB come and go with every segment. The system's allocator gives such memory back to the
/// kernel at once and takes it anew, page fault by page fault; this one keeps it for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Servers on Outlive, a TCP/IP stack in userspace.
#[derive(Debug, Parser)]
#[command(name = "outlive", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Say more: -v what happens, -vv every packet that is dropped and why; RUST_LOG=... for exactly
    /// what you want
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  outlive video ~/films                 serve a folder on tap0, then open http://10.0.0.2/
  outlive video --help                  all options of the video server, with examples
  outlive perf serve                    answer measurements
  outlive key --help                    two hosts and a witness: connections that outlive their server
A TAP device needs root, or a namespace of your own: unshare -Urn outlive video ~/films";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a folder of films over HTTP
    Video(video::VideoOptions),
    /// Stand by for another host and take over when it fails: `video` with --role backup
    Backup(video::VideoOptions),
    /// Vote on who of two servers may serve; needed once, on a third host
    Witness(cluster::HostOptions),
    /// Make the key that the hosts of a cluster share, or show an example of its configuration
    Key(cluster::KeyOptions),
    /// Show who serves, whether the other host can take over, and what is replicated
    Status(cluster::StatusOptions),
    /// Hand the service over to the other server, without losing a connection
    Handover(cluster::HostOptions),
    /// Measure this stack beside the kernel's
    #[command(subcommand)]
    Perf(outlive_perf::Command),
    /// Join two TAP devices by a link that loses, delays and spoils frames
    Relay(outlive_relay::RelayOptions),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _logs = outlive_app::start_logs(cli.verbose);
    let result = match cli.command {
        Command::Video(options) => video::run(&options),
        Command::Backup(options) => video::run(&options.as_backup()),
        Command::Witness(options) => cluster::witness(&options),
        Command::Key(options) => cluster::key(&options),
        Command::Status(options) => cluster::status(&options),
        Command::Handover(options) => cluster::handover(&options),
        Command::Perf(command) => outlive_perf::run(command),
        Command::Relay(options) => outlive_relay::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outlive: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
