//! Puts the protocol stages of a stack together.

use std::io;
use std::sync::Arc;

use outlive_driver::{Capabilities, Medium};
use thiserror::Error;

use super::config::Config;
use super::stages::{Core, Readers, TransportReader, TransportWriter, Writers};
use crate::counters::Counters;
use crate::ethernet::{Claim, EthernetReader, EthernetWriter, Link};
use crate::ip::{Ip, IpReader, IpWriter};
use crate::random::Random;
use crate::tcp::{Tcp, TcpReader, TcpWriter};
use crate::time::Instant;
use crate::udp::{Udp, UdpReader};

/// Why a stack did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The interface has no queue to work on.
    #[error("the device has no queue")]
    NoQueue,
    /// A device that is waited for must have something to wait for.
    #[error("the device has no descriptor to wait for: it can only be stepped")]
    NotWaitable,
    /// The operating system gave no random numbers.
    #[error("no random numbers from the operating system: {0}")]
    Random(getrandom::Error),
    /// No thread, or no descriptor.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A stack's stages: the shared state, and readers and writers for each queue.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) queues: Vec<(Readers, Writers)>,
}

pub(crate) fn build(
    capabilities: &Capabilities,
    queues: usize,
    config: &Config,
    now: Instant,
) -> Result<Parts, StartError> {
    let mut random = Random::from_seed(match config.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(StartError::Random)?,
    });
    let mut secret = [0; 16];
    match config.seed {
        Some(_) => {
            secret[..8].copy_from_slice(&random.next_u64().to_le_bytes());
            secret[8..].copy_from_slice(&random.next_u64().to_le_bytes());
        }
        None => getrandom::fill(&mut secret).map_err(StartError::Random)?,
    }
    let counters = Arc::new(Counters::default());
    let mut ip_config = config.ip.clone();
    if capabilities.medium == Medium::Ethernet
        && let Some(station) = config.ethernet.station_on(capabilities)
    {
        ip_config.add_link_local(station, config.ethernet.autoconfigure);
    }
    let addresses = ip_config.addresses.clone();
    let ip = Arc::new(Ip::new(
        ip_config,
        capabilities,
        Arc::clone(&counters),
        secret,
    ));
    let link = Arc::new(Link::new(
        config.ethernet.clone(),
        capabilities,
        &addresses,
        Arc::clone(&counters),
        random.fork(),
        now,
    ));
    // An address is not used before it is known to be free.
    for address in addresses {
        if link.claim(address.address()) == Some(Claim::Probing) {
            ip.withhold_address(address.address());
        }
    }
    let udp = Arc::new(Udp::new(
        config.udp.clone(),
        Arc::clone(&ip),
        Arc::clone(&counters),
        random.fork(),
    ));
    let mut tcp = Tcp::new(
        config.tcp.clone(),
        secret,
        random.fork(),
        Arc::clone(&ip),
        Arc::clone(&counters),
    );
    if let Some(gate) = &config.gate {
        tcp = tcp.with_gate(Arc::clone(gate));
    }
    let tcp = Arc::new(tcp);
    let queues = (0..queues)
        .map(|_| {
            let readers = Readers::new(
                EthernetReader::new(Arc::clone(&link)),
                IpReader::new(Arc::clone(&ip)),
                TransportReader::new(
                    TcpReader::new(Arc::clone(&tcp)),
                    UdpReader::new(Arc::clone(&udp)),
                ),
                Arc::clone(&config.permit),
            );
            let writers = Writers {
                transport: TransportWriter::new(
                    TcpWriter::new(Arc::clone(&tcp)),
                    Arc::clone(&config.permit),
                ),
                ip: IpWriter::new(Arc::clone(&ip)),
                ethernet: EthernetWriter::new(Arc::clone(&link)),
                host: Arc::clone(&ip),
            };
            (readers, writers)
        })
        .collect();
    let core = Arc::new(Core {
        ip,
        udp,
        tcp,
        link,
        counters,
    });
    Ok(Parts { core, queues })
}
