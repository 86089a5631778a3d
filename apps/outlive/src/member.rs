//! Options of a server that is one of a cluster.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use outlive_app::{Device, NetworkOptions, StackKind};
use outlive_cluster::HostId;
use outlive_cluster::config::{self, Config};

/// What a host would rather be, when nobody serves yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Serve first.
    Primary,
    /// Let the other host serve first.
    Backup,
}

/// Serving as one of two hosts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterOptions {
    /// Serve as one of two hosts that share a service address, so that connections outlive either. The
    /// file says which address and interface; `outlive key --example` shows one
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// This host's number in the cluster, instead of `me` in the file
    #[arg(long, value_name = "N", requires = "cluster")]
    me: Option<u8>,

    /// What this host would rather be when nobody serves yet; who serves is voted on [default: `preferred` in
    /// the file]
    #[arg(long, value_enum, requires = "cluster", value_name = "ROLE")]
    role: Option<Role>,
}

/// A server's place in a cluster.
pub(crate) struct Member {
    pub(crate) config: Config,
    /// The network options of the command line, with what the file says.
    pub(crate) network: NetworkOptions,
}

impl ClusterOptions {
    pub(crate) fn as_backup(&self) -> Self {
        Self {
            role: Some(Role::Backup),
            ..self.clone()
        }
    }

    /// The place that the options give to this host; none if there is no cluster.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(crate) fn join(&self, network: &NetworkOptions) -> anyhow::Result<Option<Member>> {
        let Some(file) = &self.cluster else {
            if self.role.is_some() {
                anyhow::bail!("a backup needs its cluster: give --cluster FILE");
            }
            return Ok(None);
        };
        if network.stack == StackKind::Kernel {
            anyhow::bail!(
                "connections of the kernel's stack do not outlive their host: leave out --stack kernel or --cluster"
            );
        }
        let in_file = network.interface.is_some()
            || network.address.is_some()
            || network.mac.is_some()
            || network.gateway.is_some();
        if in_file {
            anyhow::bail!(
                "with --cluster, interface, address, MAC and gateway are those of [service] in {}: leave them out here",
                file.display()
            );
        }
        let mut config = Config::read(file, self.me)?;
        match self.role {
            Some(Role::Primary) => config.preferred = config.me,
            Some(Role::Backup) => config.preferred = HostId(1 - config.me.0.min(1)),
            None => {}
        }
        let network = with_service(network, &config);
        Ok(Some(Member { config, network }))
    }
}

fn with_service(network: &NetworkOptions, config: &Config) -> NetworkOptions {
    let Some(service) = &config.service else {
        return network.clone();
    };
    NetworkOptions {
        device: match service.device {
            config::Device::Packet => Device::Packet,
            config::Device::Tap => Device::Tap,
        },
        interface: Some(service.interface.clone()),
        address: Some(service.address),
        mac: Some(service.mac),
        gateway: service.gateway,
        ..network.clone()
    }
}
