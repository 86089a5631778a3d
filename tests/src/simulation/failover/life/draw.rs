//! What a seed stands for, besides its troubles.

use std::time::Duration;

use outlive::engine::Config;
use outlive::replication::{Hot, ReplayOptions, Survival};
use outlive::tcp::{self, Algorithm, KeepAlive, SocketOptions};
use outlive_driver::Random;
use outlive_driver::impairment::Impairment;

use crate::simulation::failover::calling::Manner;
use crate::simulation::failover::channels::Quality;
use crate::simulation::failover::cluster::{Cluster, Setting};
use crate::simulation::failover::local_clock::LocalClock;
use crate::simulation::failover::script::{self, Step};
use crate::simulation::host::speaks_ipv6;

/// Of clients. After a takeover nobody is told for two minutes that his connection is unknown.
const KEEP_ALIVE: KeepAlive = KeepAlive {
    idle: Duration::from_secs(7),
    interval: Duration::from_secs(2),
    probes: 200,
};
/// Clocks drift by at most this, either way; the leases allow for more.
const DRIFT_PPM: u64 = 200;

pub(super) fn draw_setting(random: &mut Random, seed: u64) -> Setting {
    let clients = 1 + random.below(3) as u8;
    let clocks = (0..3 + clients).map(|_| draw_clock(random)).collect();
    let by_ipv6 = speaks_ipv6(seed);
    let least = if by_ipv6 { 1280 } else { 0 };
    let client = draw_config(random);
    Setting {
        seed,
        by_ipv6,
        server: draw_config(random),
        client: Config {
            tcp: tcp::Config {
                socket: SocketOptions {
                    // Whoever misses a RST, or gets it too early, would wait for ever: the server has forgotten
                    // the connection, and says so only to who asks.
                    keep_alive: Some(KEEP_ALIVE),
                    ..client.tcp.socket
                },
                ..client.tcp
            },
            ..client
        },
        clients,
        cables: draw_cables(random),
        quality: draw_quality(random),
        mtu: [1500, 1500, 9000, 700][random.below(4) as usize].max(least),
        clocks,
        survival: draw_survival(random),
        greeting: u64::from(random.chance(1, 4)) * random.below(3_000),
        flooded: random.chance(1, 6),
        pauses: draw_pauses(random),
        ..Setting::default()
    }
}

/// A log that holds everything, one that some connections fill, or hardly any; or servers that note where they are.
fn draw_survival(random: &mut Random) -> Survival {
    let (log_bytes, hot) = match random.below(6) {
        4 => return Survival::Checkpoint,
        5 => return Survival::Mirror,
        0 => (4 << 20, Hot::Never),
        1 => (4 << 20, Hot::Always),
        2 => (100 << 10, Hot::WhenFull),
        _ => (2 << 10, Hot::WhenFull),
    };
    Survival::Replay(ReplayOptions { log_bytes, hot })
}

/// The application of one host may be slower than that of the other, and than the client.
fn draw_pauses(random: &mut Random) -> [Duration; 2] {
    let mut pauses = [Duration::ZERO; 2];
    if random.chance(1, 3) {
        let most_ms = [3, 30, 300][random.below(3) as usize];
        pauses[random.below(2) as usize] = Duration::from_millis(random.below(most_ms));
    }
    pauses
}

fn draw_clock(random: &mut Random) -> LocalClock {
    let offset = match random.below(3) {
        0 => Duration::ZERO,
        1 => Duration::from_millis(random.below(2_000)),
        _ => Duration::from_secs(random.below(10_000_000)),
    };
    LocalClock::new(
        offset,
        random.below(2 * DRIFT_PPM + 1) as i32 - DRIFT_PPM as i32,
    )
}

fn draw_config(random: &mut Random) -> Config {
    let mut config = Config::default();
    config.tcp.sack = random.chance(5, 6);
    config.tcp.timestamps = random.chance(3, 4);
    config.tcp.window_scaling = random.chance(5, 6);
    if random.chance(1, 4) {
        config.tcp.socket.receive_buffer_bytes = Some(2048 << random.below(8));
    }
    if random.chance(1, 4) {
        config.tcp.socket.send_buffer_bytes = Some(2048 << random.below(8));
    }
    if random.chance(1, 4) {
        config.tcp.socket.algorithm = Algorithm::NewReno;
    }
    config.tcp.max_send_buffer_bytes = 1 << 20;
    config.tcp.max_receive_buffer_bytes = 1 << 20;
    config
}

/// So many in ten thousand, zero every other time.
fn rare(random: &mut Random, most: u64) -> f64 {
    if random.chance(1, 2) {
        0.0
    } else {
        random.below(most + 1) as f64 / 10_000.0
    }
}

fn draw_cables(random: &mut Random) -> Impairment {
    let fair = Impairment {
        delay: Duration::from_micros([20, 200, 2_000, 15_000][random.below(4) as usize]),
        ..Impairment::default()
    };
    if random.chance(1, 2) {
        return fair;
    }
    Impairment {
        loss: rare(random, 150),
        duplicate: rare(random, 150),
        reorder: rare(random, 200),
        reorder_delay: Duration::from_micros(random.below(10_000)),
        jitter: Duration::from_micros(random.below(3_000)),
        ..fair
    }
}

fn draw_quality(random: &mut Random) -> Quality {
    let delay = Duration::from_micros([30, 100, 700][random.below(3) as usize]);
    let good = Quality {
        heartbeats: Impairment {
            delay,
            ..Impairment::default()
        },
        delay: (delay, Duration::from_micros(random.below(500))),
        breaks_after: Duration::from_millis(50 + random.below(1_000)),
        connects_after: Duration::from_millis(1 + random.below(30)),
    };
    if random.chance(1, 2) {
        return good;
    }
    Quality {
        heartbeats: Impairment {
            loss: rare(random, 300),
            duplicate: rare(random, 500),
            reorder: rare(random, 500),
            reorder_delay: Duration::from_micros(random.below(5_000)),
            jitter: Duration::from_micros(random.below(2_000)),
            delay,
            ..Impairment::default()
        },
        ..good
    }
}

fn read_little(step: &mut Step) {
    if let Step::Read(n) | Step::Both(n, _) = step {
        *n /= 8;
    }
}

pub(super) fn draw_connections(random: &mut Random, cluster: &mut Cluster, setting: &Setting) {
    let count = match random.below(3) {
        0 => 1 + random.below(15),
        _ => 1 + random.below(4),
    };
    for salt in 0..count {
        let (mut script, mut to_end) = script::draw(random, salt);
        if matches!(setting.survival, Survival::Checkpoint | Survival::Mirror) {
            // What is read behind a point that the client has not acknowledged, or behind the last write, has to fit
            // the log.
            script.steps.iter_mut().for_each(read_little);
            to_end /= 8;
        }
        let manner = Manner::draw(random, &script, to_end);
        let client = random.below(cluster.clients() as u64) as usize;
        cluster.call(client, script, manner);
    }
}
