//! The configuration file of a cluster (TOML), checked as a whole.
//!
//! Unknown keys and values that cannot be are refused, in one line that says where and what to write instead.
//! Relative file names are relative to the configuration file.

mod file;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::id::HostId;
pub use file::{Device, Service};
use file::{File, Method};
use outlive::replication::{Hot, ReplayOptions};

/// An example of the file, with every key.
pub const EXAMPLE: &str = include_str!("../../example.toml");

/// The witness' number.
const WITNESS: u8 = 2;
/// Nobody needs more paths.
const MOST_PATHS: usize = 8;

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {0}: {1}; `outlive video --help` shows an example")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not TOML, or has a key or a type that is not known.
    #[error("configuration {path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The values do not fit together.
    #[error("configuration {0}: {1}")]
    Wrong(PathBuf, String),
}

/// Another host, or this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its number.
    pub id: HostId,
    /// Its addresses, in the order of the paths.
    pub paths: Vec<SocketAddr>,
}

/// Who decides when the two servers do not see each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arbitration {
    /// The third host.
    Witness,
    /// A command that switches the other host off.
    Fence(Fence),
    /// Nobody: **without any guarantee**. What answers as long as this host is on the service network.
    UnsafePair(Vec<SocketAddr>),
}

/// What is said of a bare pair wherever it shows.
pub const UNSAFE_PAIR_WARNING: &str = "unsafe pair: hosts that are cut from each other will both serve, and \
    connections can be spoilt; there is no guarantee. A witness or a fence command gives one";

/// A command that switches the other host off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// How long the backup waits before it begins.
    pub delay: Duration,
    /// After a failure, the next try.
    pub retry: Duration,
}

/// How failures are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Between two heartbeats.
    pub interval: Duration,
    /// So many missing ones are a failure.
    pub multiplier: u8,
    /// For how long a path that was dead must work to count again.
    pub hold_down: Duration,
    /// The most that this is doubled to.
    pub hold_down_max: Duration,
}

/// How long a host may send without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// One grant.
    pub duration: Duration,
    /// Drift of the hosts' clocks against each other, in parts per million.
    pub drift_ppm: u32,
}

/// How much is kept for connections, and how long their effects wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Most bytes of all journals; connections that find no room are unprotected.
    pub journal_bytes: usize,
    /// A backup that leaves something unanswered for so long is left behind.
    pub commit_timeout: Duration,
    /// For comparison only: the other host agrees to every segment of data before it leaves, and is told
    /// of every segment that arrives.
    pub lockstep: bool,
    /// How connections that continue by replay do so.
    pub replay: ReplayOptions,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// This host.
    pub me: HostId,
    /// The key of the cluster.
    pub key_file: PathBuf,
    /// What survives a restart.
    pub state_dir: PathBuf,
    /// Who serves first.
    pub preferred: HostId,
    /// The cluster never had a view before: somebody promises that.
    pub first_start: bool,
    /// All hosts, this one too.
    pub hosts: Vec<Host>,
    /// What clients connect to; none on the witness.
    pub service: Option<Service>,
    /// How failures are noticed.
    pub detection: Detection,
    /// How long a host may send without asking again.
    pub lease: Lease,
    /// Who decides.
    pub arbitration: Arbitration,
    /// How much is kept, and how long effects wait.
    pub survival: Survival,
}

impl Config {
    /// Reads and checks a file; `me` overrides what it says.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn read(path: &Path, me: Option<u8>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError::Read(path.into(), error))?;
        Self::parse(path, &text, me)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn parse(path: &Path, text: &str, me: Option<u8>) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
        check(path, file, me).map_err(|message| ConfigError::Wrong(path.into(), message))
    }

    /// This host's entry.
    #[must_use]
    pub fn own(&self) -> &Host {
        // `check` has seen it.
        self.hosts
            .iter()
            .find(|host| host.id == self.me)
            .expect("this host is configured")
    }

    /// The other hosts.
    pub fn others(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.id != self.me)
    }

    /// True on the witness.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.me.0 == WITNESS
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let lines = text.as_bytes()[..start]
        .iter()
        .filter(|byte| **byte == b'\n');
    ConfigError::Syntax {
        path: path.into(),
        line: lines.count() + 1,
        // What a line of advice cannot have.
        message: error.message().replace('\n', "; "),
    }
}

fn check(path: &Path, file: File, me: Option<u8>) -> Result<Config, String> {
    let me = me.or(file.me).ok_or("`me` is missing: the number of this host, 0 or 1 for servers, 2 for the witness; or give --me")?;
    check_hosts(&file.hosts, me)?;
    let witness = file.hosts.iter().any(|host| host.id == WITNESS);
    let arbitration = check_arbitration(&file.arbitration, witness)?;
    if me != WITNESS && file.service.is_none() {
        return Err(
            "[service] is missing: interface, address and mac of what clients connect to".into(),
        );
    }
    if file.preferred >= WITNESS {
        return Err(format!(
            "preferred = {} is no server: write 0 or 1",
            file.preferred
        ));
    }
    if let Some(service) = &file.service {
        check_service(service)?;
    }
    let beside = |name: PathBuf| {
        path.parent()
            .map_or(name.clone(), |folder| folder.join(&name))
    };
    let (detection, lease) = check_times(&file)?;
    let survival = check_survival(file.survival)?;
    Ok(Config {
        path: path.into(),
        me: HostId(me),
        key_file: beside(file.key_file),
        state_dir: beside(file.state_dir),
        preferred: HostId(file.preferred),
        first_start: file.first_start,
        hosts: file
            .hosts
            .into_iter()
            .map(|host| Host {
                id: HostId(host.id),
                paths: host.paths,
            })
            .collect(),
        service: file.service,
        detection,
        lease,
        arbitration,
        survival,
    })
}

fn check_hosts(hosts: &[file::Host], me: u8) -> Result<(), String> {
    let mut ids = HashSet::new();
    for host in hosts {
        if host.id > WITNESS {
            return Err(format!(
                "[[hosts]] id = {} is not known: 0 and 1 are the servers, 2 is the witness",
                host.id
            ));
        }
        if !ids.insert(host.id) {
            return Err(format!("[[hosts]] id = {} is there twice", host.id));
        }
    }
    for server in [0, 1] {
        if !ids.contains(&server) {
            return Err(format!(
                "[[hosts]] id = {server} is missing: both servers are needed"
            ));
        }
    }
    if !ids.contains(&me) {
        return Err(format!(
            "me = {me}, but there is no [[hosts]] with id = {me}"
        ));
    }
    let count = hosts[0].paths.len();
    if count == 0 || count > MOST_PATHS {
        return Err(format!(
            "paths of host {}: give 1 to {MOST_PATHS} addresses, for example [\"10.88.0.1:7700\"]",
            hosts[0].id
        ));
    }
    let mut addresses = HashSet::new();
    for host in hosts {
        if host.paths.len() != count {
            return Err(format!(
                "hosts {} and {} have different numbers of `paths`: every host needs an address on every path",
                hosts[0].id, host.id
            ));
        }
        for (path, address) in host.paths.iter().enumerate() {
            if address.ip().is_unspecified() || address.port() == 0 || !addresses.insert(address) {
                return Err(format!(
                    "paths of host {}: {address} is taken or no address of a host; write for example 10.88.0.1:7700",
                    host.id
                ));
            }
            if address.is_ipv4() != hosts[0].paths[path].is_ipv4() {
                return Err(format!(
                    "paths of host {}: {address} is of another address family than host {}'s",
                    host.id, hosts[0].id
                ));
            }
        }
    }
    Ok(())
}

fn check_arbitration(given: &file::Arbitration, witness: bool) -> Result<Arbitration, String> {
    let method = given
        .method
        .or(match (witness, given.fence_command.is_empty()) {
            (true, _) => Some(Method::Witness),
            (false, false) => Some(Method::Fence),
            (false, true) => None,
        });
    match method {
        Some(Method::Witness) if witness => Ok(Arbitration::Witness),
        Some(Method::Witness) => Err("arbitration by a witness needs [[hosts]] with id = 2, where `outlive witness` runs".into()),
        Some(Method::Fence) if given.fence_command.is_empty() => Err("arbitration by fence needs fence_command = [\"program\", \"argument\", ...], which switches the other host off".into()),
        Some(Method::Fence) => Ok(Arbitration::Fence(Fence {
            command: given.fence_command.clone(),
            timeout: within("fence_timeout_ms", given.fence_timeout_ms, 1, 600_000)?,
            delay: within("fence_delay_ms", given.fence_delay_ms, 0, 60_000)?,
            retry: within("fence_retry_ms", given.fence_retry_ms, 10, 600_000)?,
        })),
        Some(Method::UnsafePair) if given.unsafe_pair && given.service_probe.is_empty() => Err("an unsafe pair needs arbitration.service_probe = [\"10.77.0.254:53\"]: address and TCP port of something on the service network that answers, even by refusing, for example its router".into()),
        Some(Method::UnsafePair) if given.unsafe_pair => Ok(Arbitration::UnsafePair(given.service_probe.clone())),
        Some(Method::UnsafePair) | None => Err("two hosts alone cannot be safe: cut from each other, both would serve; add a witness ([[hosts]] id = 2) or arbitration.fence_command, or accept spoilt connections with method = \"unsafe pair\" and unsafe_pair = true".into()),
    }
}

fn check_service(service: &Service) -> Result<(), String> {
    if service.flooded && service.device != Device::Packet {
        return Err(
            "service.flooded needs device = \"packet\": there, interfaces have addresses of their own".into(),
        );
    }
    match service.gateway {
        Some(gateway) if !service.address.contains(gateway) => Err(format!(
            "service.gateway {gateway} is not in the network of {}",
            service.address
        )),
        _ => Ok(()),
    }
}

fn check_times(file: &File) -> Result<(Detection, Lease), String> {
    let given = file.detection;
    let detection = Detection {
        interval: within("detection.interval_ms", given.interval_ms, 1, 10_000)?,
        multiplier: given.multiplier,
        hold_down: within("detection.hold_down_ms", given.hold_down_ms, 0, 60_000)?,
        hold_down_max: within(
            "detection.hold_down_max_ms",
            given.hold_down_max_ms,
            given.hold_down_ms,
            600_000,
        )?,
    };
    if given.multiplier == 0 {
        return Err(
            "detection.multiplier = 0 would make every heartbeat a failure: write 3".into(),
        );
    }
    let least = given.interval_ms.saturating_mul(2);
    let lease = Lease {
        duration: within("lease.duration_ms", file.lease.duration_ms, least, 10_000)?,
        drift_ppm: file.lease.drift_ppm,
    };
    if lease.drift_ppm > 100_000 {
        return Err(format!(
            "lease.drift_ppm = {} is more than a clock that works: write 2000",
            lease.drift_ppm
        ));
    }
    Ok((detection, lease))
}

fn check_survival(given: file::Survival) -> Result<Survival, String> {
    if !(1..=1 << 20).contains(&given.journal_mb) {
        return Err(format!(
            "survival.journal_mb = {}: write a number from 1 to 1048576",
            given.journal_mb
        ));
    }
    Ok(Survival {
        journal_bytes: given.journal_mb << 20,
        commit_timeout: within(
            "survival.commit_timeout_ms",
            given.commit_timeout_ms,
            10,
            60_000,
        )?,
        lockstep: given.lockstep,
        replay: check_replay(given)?,
    })
}

fn check_replay(given: file::Survival) -> Result<ReplayOptions, String> {
    if !(1..=1 << 20).contains(&given.replay_log_kb) {
        return Err(format!(
            "survival.replay_log_kb = {}: write a number from 1 to 1048576",
            given.replay_log_kb
        ));
    }
    Ok(ReplayOptions {
        log_bytes: given.replay_log_kb << 10,
        hot: match given.replay_hot {
            file::Hot::Never => Hot::Never,
            file::Hot::WhenFull => Hot::WhenFull,
            file::Hot::Always => Hot::Always,
        },
    })
}

fn within(name: &str, value_ms: u64, least: u64, most: u64) -> Result<Duration, String> {
    if (least..=most).contains(&value_ms) {
        return Ok(Duration::from_millis(value_ms));
    }
    let why = if name == "lease.duration_ms" && value_ms < least {
        ", twice detection.interval_ms,"
    } else {
        ""
    };
    Err(format!(
        "{name} = {value_ms}: write a number from {least}{why} to {most}"
    ))
}
