//! What can be chosen about a whole stack.

use std::sync::Arc;
use std::time::Duration;

use super::egress::{Always, Permit};
use crate::tcp::gate::Gate;
use crate::{ethernet, ip, tcp, udp};

/// Which stages run on which thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// All stages of a device queue on one thread, composed by plain calls.
    #[default]
    RunToCompletion,
    /// Each stage on a thread of its own, joined by bounded channels of batches.
    Pipeline,
}

/// Choices for a stack. [`Config::default`] has no address: set `ip.addresses`.
#[derive(Clone)]
pub struct Config {
    /// Addresses and routes.
    pub ip: ip::Config,
    /// VLAN, neighbours, claims of our addresses.
    pub ethernet: ethernet::Config,
    /// UDP sockets.
    pub udp: udp::Config,
    /// Everything about TCP.
    pub tcp: tcp::Config,
    /// Which stages run on which thread; a stepped stack has none.
    pub topology: Topology,
    /// How long a thread without work looks for more before it sleeps.
    pub poll_for: Duration,
    /// Most frames received in one turn.
    pub batch_frames: usize,
    /// Frames that may wait for a full device before the writers pause.
    pub egress_frames: usize,
    /// Batches that may wait between two stages of a pipeline.
    pub channel_batches: usize,
    /// Seed of everything random; from the operating system if not given. With a seed a stack is
    /// reproducible, and its sequence numbers can be guessed: for simulation.
    pub seed: Option<u64>,
    /// Asked before every batch of frames that leaves.
    pub permit: Arc<dyn Permit>,
    /// Commits every decision of every connection before its effect leaves.
    pub gate: Option<Arc<dyn Gate>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ip: ip::Config::default(),
            ethernet: ethernet::Config::default(),
            udp: udp::Config::default(),
            tcp: tcp::Config::default(),
            topology: Topology::default(),
            poll_for: Duration::from_micros(50),
            batch_frames: 64,
            egress_frames: 256,
            channel_batches: 64,
            seed: None,
            permit: Arc::new(Always),
            gate: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("ip", &self.ip)
            .field("tcp", &self.tcp)
            .field("topology", &self.topology)
            .field("poll_for", &self.poll_for)
            .finish_non_exhaustive()
    }
}
