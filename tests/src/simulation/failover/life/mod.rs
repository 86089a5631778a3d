//! One seed, one life of a pair: clients with random scripts, networks of some quality, and one trouble after the
//! other, each begun when both servers were in sync again. No connection may notice any of it.

mod draw;
mod trouble;

use std::time::Duration;

use outlive_driver::Random;

use self::draw::{draw_connections, draw_setting};
use self::trouble::Trouble;
use super::cluster::Cluster;
use crate::simulation::world::Violation;

/// Time in which a pair has to be in sync after a trouble has passed.
const RECOVERY: Duration = Duration::from_secs(60);
/// Time in which all applications have to finish once the troubles are over.
const LIMIT: Duration = Duration::from_secs(1200);

/// What lives were like, for the sum over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections.
    pub connections: u64,
    /// Bytes that clients read.
    pub bytes: u64,
    /// Troubles.
    pub troubles: u64,
    /// Times that the service moved to the other host.
    pub takeovers: u64,
    /// Connections that were open during at least one trouble.
    pub disturbed: u64,
    /// Segments whose ACK was held against what the backup had.
    pub acks_checked: u64,
    /// RSTs for connections that both ends had closed in order.
    pub resets_after_the_end: u64,
    /// The longest time that a client saw nothing new, in milliseconds.
    pub longest_gap_ms: u64,
}

impl Stats {
    /// Adds another life.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.troubles += other.troubles;
        self.takeovers += other.takeovers;
        self.disturbed += other.disturbed;
        self.acks_checked += other.acks_checked;
        self.resets_after_the_end += other.resets_after_the_end;
        self.longest_gap_ms = self.longest_gap_ms.max(other.longest_gap_ms);
    }
}

/// Lives through `seed`.
///
/// # Errors
/// The oracle that was violated.
pub fn live(seed: u64) -> Result<Stats, Violation> {
    let mut random = Random::from_seed(seed);
    let setting = draw_setting(&mut random, seed);
    if std::env::var_os("OUTLIVE_TRACE").is_some() {
        println!(
            "{:?}, {:?}, {:?}",
            setting.survival, setting.cables, setting.quality
        );
    }
    let mut cluster = Cluster::pair(&setting);
    cluster.settle(RECOVERY)?;
    draw_connections(&mut random, &mut cluster, &setting);
    let mut stats = Stats {
        connections: cluster.connections.len() as u64,
        ..Stats::default()
    };
    let mut owner = cluster.owner();
    for _ in 0..1 + random.below(4) {
        let calm = Duration::from_micros(random.below(400_000));
        cluster.world.run_for(calm)?;
        let trouble = Trouble::draw(&mut random);
        stats.troubles += 1;
        stats.disturbed += cluster.open();
        trouble.strike(&mut cluster, &mut random)?;
        cluster.settle(RECOVERY)?;
        let now_owner = cluster.owner();
        stats.takeovers += u64::from(now_owner != owner);
        owner = now_owner;
    }
    cluster.finish(LIMIT)?;
    cluster.judge()?;
    let records = cluster.connections.iter();
    for seen in records.map(|c| c.record.borrow()) {
        stats.bytes += seen.received;
        stats.longest_gap_ms = stats.longest_gap_ms.max(seen.gap.as_millis() as u64);
    }
    stats.acks_checked = cluster.world.oracle.acks_checked;
    stats.resets_after_the_end = cluster.world.oracle.resets_after_the_end;
    Ok(stats)
}
