//! From the configuration to a membership, and its memory on stable storage.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use thiserror::Error;

use crate::config::{Arbitration, Config};
use crate::keeper::Keeper;
use crate::key::{Key, KeyError};
use crate::link::{self, LinkError, Links};
use crate::storage::{StateFolder, StorageError};
use outlive::replication::membership::{self, Durable, Incarnation, PathId};

/// The file of a voter's memory.
const VOTE: &str = "vote";

/// Why a host does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The state folder.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The links.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] crate::control::ControlError),
    /// What is stored is not a vote.
    #[error("state file {0} is of another version; remove it when all hosts run this version")]
    Memory(std::path::PathBuf),
    /// A role that this configuration does not give to this host.
    #[error("{0}")]
    Role(String),
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(io::Error),
}

/// What a host remembers; nothing if it never voted.
///
/// # Errors
/// When there is a memory and it cannot be read.
pub fn load(folder: &StateFolder) -> Result<Durable, StartError> {
    match folder.load(VOTE)? {
        None => Ok(Durable::default()),
        Some(bytes) => {
            Durable::decode(&bytes).map_err(|_| StartError::Memory(folder.path().join(VOTE)))
        }
    }
}

/// Returns once `durable` is on stable storage.
///
/// # Errors
/// When it is not.
pub fn store(folder: &StateFolder, durable: &Durable) -> Result<(), StorageError> {
    let mut bytes = BytesMut::new();
    durable.encode(&mut bytes);
    folder.store(VOTE, &bytes)
}

/// Stores votes in `folder`, while heartbeats go on.
pub(crate) fn keeper(folder: StateFolder) -> Result<Arc<Keeper>, StartError> {
    let store = move |durable: &Durable| store(&folder, durable).map_err(io::Error::other);
    let keeper = Keeper::start(store).map_err(LinkError::from)?;
    Ok(Arc::new(keeper))
}

/// How this host takes part.
///
/// # Errors
/// When there is no randomness.
pub fn options(config: &Config) -> Result<membership::Config, StartError> {
    let arbitration = match &config.arbitration {
        Arbitration::Witness => membership::Arbitration::Witness,
        Arbitration::Fence(_) => membership::Arbitration::Fence,
        Arbitration::UnsafePair(_) => membership::Arbitration::UnsafePair,
    };
    let incarnation = getrandom::u64().map_err(|error| StartError::Random(error.into()))?;
    let mut options = membership::Config {
        preferred: config.preferred,
        first_start: config.first_start,
        heartbeat_interval: config.detection.interval,
        multiplier: config.detection.multiplier,
        lease: config.lease.duration,
        drift_ppm: config.lease.drift_ppm,
        hold_down: config.detection.hold_down,
        hold_down_max: config.detection.hold_down_max,
        ..membership::Config::new(config.me, arbitration, Incarnation(incarnation.max(1)))
    };
    if let Arbitration::Fence(fence) = &config.arbitration {
        options.fence_delay = fence.delay;
        options.fence_retry = fence.retry;
    }
    for host in config.others() {
        for path in (0..).take(host.paths.len()) {
            options = options.with_link(host.id, PathId(path));
        }
    }
    Ok(options)
}

/// Binds the links that the configuration describes.
///
/// # Errors
/// One line that says what to do.
pub fn links(config: &Config) -> Result<Arc<Links>, StartError> {
    let peers = config.others().map(|host| link::Peer {
        host: host.id,
        addresses: host.paths.clone(),
        ordered: host.id.is_server() && config.me.is_server(),
    });
    let options = link::Options {
        me: config.me,
        addresses: config.own().paths.clone(),
        peers: peers.collect(),
        key: Key::read(&config.key_file)?,
    };
    Ok(Links::bind(&options)?)
}
