//! `outlive key`, `witness`, `status` and `handover`: what makes a cluster, and what is asked of its hosts.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use outlive_app::{StopSignals, print_summary};
use outlive_cluster::config::Config;
use outlive_cluster::control;
use outlive_cluster::key::Key;
use outlive_cluster::witness::Witness;

/// Which host of which cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct HostOptions {
    /// The configuration file of the cluster; `outlive key --help` shows how to begin
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// This host's number, instead of `me` in the file
    #[arg(long, value_name = "N")]
    me: Option<u8>,
}

impl HostOptions {
    pub(crate) fn read(&self) -> anyhow::Result<Config> {
        Ok(Config::read(&self.config, self.me)?)
    }
}

/// Options of `outlive key`.
#[derive(Args, Debug)]
#[command(after_help = KEY_HELP)]
pub(crate) struct KeyOptions {
    /// Show a configuration file with every key and what it means, instead of making a key
    #[arg(long)]
    example: bool,
}

const KEY_HELP: &str = "\
A cluster from nothing:
  (umask 077; outlive key > cluster.key)     the secret that its hosts share; copy it to each of them
  outlive key --example > cluster.toml       edit: addresses, interface, service address
  outlive witness --config cluster.toml --me 2                  on the third host
  outlive video ~/films --cluster cluster.toml --me 0           on the first server
  outlive video ~/films --cluster cluster.toml --me 1           on the second one
  outlive status --config cluster.toml --me 0                   who serves, and is the other one ready?";

/// Makes a key.
pub(crate) fn key(options: &KeyOptions) -> anyhow::Result<()> {
    if options.example {
        std::io::stdout().write_all(outlive_cluster::config::EXAMPLE.as_bytes())?;
        return Ok(());
    }
    Ok(Key::generate()?.print()?)
}

/// Votes until interrupted.
pub(crate) fn witness(options: &HostOptions) -> anyhow::Result<()> {
    let stop = StopSignals::new().context("cannot wait for signals")?;
    let config = options.read()?;
    let address = config.own().paths.first().map(ToString::to_string);
    let witness = Witness::start(config)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "witness at {}", address.unwrap_or_default())?;
    stdout.flush()?;
    stop.wait();
    witness.stop();
    print_summary("outlive witness", witness.counters())?;
    Ok(())
}

/// Options of `outlive status`.
#[derive(Args, Debug)]
#[command(after_help = STATUS_HELP)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    host: HostOptions,

    /// As one line of JSON, with all counters
    #[arg(long)]
    json: bool,
}

const STATUS_HELP: &str = "\
Asks the process that runs on this host with the same configuration, as the same user.
  outlive status --config cluster.toml
  watch -n 0.5 outlive status --config cluster.toml
  outlive status --config cluster.toml --json | jq .role";

/// Shows the state of the host that runs here.
pub(crate) fn status(options: &StatusOptions) -> anyhow::Result<()> {
    let report = control::status(&options.host.read()?.state_dir)?;
    let mut stdout = std::io::stdout();
    if options.json {
        writeln!(stdout, "{}", report.json())?;
    } else {
        write!(stdout, "{report}")?;
    }
    Ok(())
}

/// Has the host that runs here hand the service over.
pub(crate) fn handover(options: &HostOptions) -> anyhow::Result<()> {
    let done = control::handover(&options.read()?.state_dir)?;
    writeln!(std::io::stdout(), "{done}")?;
    Ok(())
}
