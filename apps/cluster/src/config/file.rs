//! The configuration file as it is written: names and types of every key. What the values mean together is
//! checked in [`super`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use outlive_app::{Cidr, Mac};
use serde::{Deserialize, Deserializer, de};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) me: Option<u8>,
    pub(super) key_file: PathBuf,
    pub(super) state_dir: PathBuf,
    #[serde(default)]
    pub(super) preferred: u8,
    #[serde(default)]
    pub(super) first_start: bool,
    #[serde(default)]
    pub(super) hosts: Vec<Host>,
    pub(super) service: Option<Service>,
    #[serde(default)]
    pub(super) detection: Detection,
    #[serde(default)]
    pub(super) lease: Lease,
    #[serde(default)]
    pub(super) arbitration: Arbitration,
    #[serde(default)]
    pub(super) survival: Survival,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) id: u8,
    pub(super) paths: Vec<SocketAddr>,
}

/// What carries the frames of the service address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// An existing interface, beside the kernel.
    #[default]
    Packet,
    /// A TAP interface, made if it does not exist.
    Tap,
}

/// What clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What carries the frames.
    #[serde(default)]
    pub device: Device,
    /// The interface.
    pub interface: String,
    /// The service address.
    #[serde(deserialize_with = "parsed")]
    pub address: Cidr,
    /// The service MAC address.
    #[serde(deserialize_with = "parsed")]
    pub mac: Mac,
    /// Router for everything outside the network.
    pub gateway: Option<IpAddr>,
    /// Frames leave under the interface's own MAC address, and the network brings what is for the service to both hosts.
    #[serde(default)]
    pub flooded: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Detection {
    pub(super) interval_ms: u64,
    pub(super) multiplier: u8,
    pub(super) hold_down_ms: u64,
    pub(super) hold_down_max_ms: u64,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            interval_ms: 10,
            multiplier: 3,
            hold_down_ms: 30,
            hold_down_max_ms: 2000,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lease {
    pub(super) duration_ms: u64,
    pub(super) drift_ppm: u32,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            duration_ms: 30,
            drift_ppm: 2000,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Method {
    #[serde(rename = "witness")]
    Witness,
    #[serde(rename = "fence")]
    Fence,
    #[serde(rename = "unsafe pair")]
    UnsafePair,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Arbitration {
    pub(super) method: Option<Method>,
    pub(super) unsafe_pair: bool,
    pub(super) fence_command: Vec<String>,
    pub(super) fence_timeout_ms: u64,
    pub(super) fence_delay_ms: u64,
    pub(super) fence_retry_ms: u64,
    pub(super) service_probe: Vec<SocketAddr>,
}

impl Default for Arbitration {
    fn default() -> Self {
        Self {
            method: None,
            unsafe_pair: false,
            fence_command: Vec::new(),
            fence_timeout_ms: 10_000,
            fence_delay_ms: 200,
            fence_retry_ms: 1_000,
            service_probe: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Survival {
    pub(super) journal_mb: usize,
    pub(super) commit_timeout_ms: u64,
    pub(super) lockstep: bool,
    pub(super) replay_log_kb: u32,
    pub(super) replay_hot: Hot,
}

/// When the other host's handler follows along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Hot {
    #[serde(rename = "never")]
    Never,
    #[serde(rename = "when full")]
    WhenFull,
    #[serde(rename = "always")]
    Always,
}

impl Default for Survival {
    fn default() -> Self {
        Self {
            journal_mb: 1024,
            commit_timeout_ms: 200,
            lockstep: false,
            replay_log_kb: 256,
            replay_hot: Hot::WhenFull,
        }
    }
}

/// A value that is written as on a command line, with the same advice when it is wrong.
fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}
