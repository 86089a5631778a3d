//! What a seed stands for: links, hosts, connections and faults.

use std::time::Duration;

use outlive::engine::Config;
use outlive::tcp::{Algorithm, ListenOptions};
use outlive_driver::impairment::{Burst, Impairment, Rate};
use outlive_driver::{Capabilities, Random};

use super::Connection;
use crate::simulation::application::{Ending, Pace, Plan, Record};
use crate::simulation::host::{Host, mac, speaks_ipv6};
use crate::simulation::pattern::Pattern;
use crate::simulation::world::{Fault, HostId, World};

/// How bad the links are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    Bad,
    /// So bad that a connection may fail.
    Severe,
}

/// What is special about a life, besides its links and applications.
#[derive(Clone, Debug, Default)]
pub(super) struct Circumstances {
    /// Full-sized datagrams vanish on the way, and nobody says so.
    pub(super) black_hole: bool,
    /// There are so few ports that they are used again at once, and may run out.
    pub(super) few_ports: bool,
    /// How the server listens.
    pub(super) listen: ListenOptions,
    /// How long the server pauses between two accepts, at most.
    pub(super) accept_pause: Duration,
}

impl Circumstances {
    /// True if a segment may have to be sent twice though the links are fair.
    pub(super) fn disturb(&self) -> bool {
        self.black_hole || self.accept_pause > Duration::ZERO
    }
}

/// Most lives have nothing special.
pub(super) fn draw_circumstances(random: &mut Random) -> Circumstances {
    let mut circumstances = Circumstances {
        black_hole: random.chance(1, 16),
        few_ports: random.chance(1, 12),
        ..Circumstances::default()
    };
    if random.chance(1, 12) {
        circumstances.listen.backlog = random.below(3) as usize;
        circumstances.accept_pause = Duration::from_millis(1 + random.below(700));
    }
    circumstances
}

pub(super) fn draw_weather(random: &mut Random) -> (Weather, (Impairment, Impairment)) {
    let weather = match random.below(10) {
        0..3 => Weather::Fair,
        3..9 => Weather::Bad,
        _ => Weather::Severe,
    };
    let there = draw_impairment(random, weather);
    let back = if random.chance(1, 3) {
        draw_impairment(random, weather)
    } else {
        there.clone()
    };
    (weather, (there, back))
}

/// A probability of up to `most` percent, zero every other time.
fn percent(random: &mut Random, most: u64) -> f64 {
    if random.chance(1, 2) {
        0.0
    } else {
        random.below(most * 100 + 1) as f64 / 10_000.0
    }
}

fn draw_impairment(random: &mut Random, weather: Weather) -> Impairment {
    let delay = match random.below(4) {
        0 => Duration::ZERO,
        1 => Duration::from_micros(random.below(2_000)),
        2 => Duration::from_millis(random.below(40)),
        _ => Duration::from_millis(random.below(300)),
    };
    let rate = random.chance(1, 4).then(|| Rate {
        bits_per_second: 500_000 << random.below(10),
        queue_frames: 20 + random.below(500) as usize,
        queue_bytes: 4 << 20,
    });
    // Fair links answer a SYN within its RTO of a second, also when ARP comes first.
    let longest = if weather == Weather::Fair { 200 } else { 300 };
    let fair = Impairment {
        delay: delay.min(Duration::from_millis(longest)),
        ..Impairment::default()
    };
    let scale = match weather {
        Weather::Fair => return fair,
        Weather::Bad => 1,
        Weather::Severe => 3,
    };
    Impairment {
        loss: percent(random, 7 * scale),
        burst: random.chance(1, 5).then(|| Burst {
            begin: random.below(200) as f64 / 10_000.0,
            end: 0.35,
            loss: 0.8,
        }),
        duplicate: percent(random, 5 * scale),
        reorder: percent(random, 8 * scale),
        reorder_delay: Duration::from_micros(random.below(50_000)),
        corrupt: percent(random, 4 * scale),
        jitter: Duration::from_micros(random.below(20_000)),
        rate,
        ..fair
    }
}

/// A client and a server, and the MTU of both.
pub(super) fn draw_hosts(
    world: &mut World,
    random: &mut Random,
    seed: u64,
    circumstances: &Circumstances,
) -> (Host, Host, usize) {
    let mtu = match random.below(4) {
        0 => 576 + random.below(9000 - 576) as usize,
        1 => 9000,
        _ => 1500,
    };
    let by_ipv6 = speaks_ipv6(seed);
    let mtu = if by_ipv6 { mtu.max(1280) } else { mtu };
    let mut host = |number| {
        let offloads = random.chance(1, 3);
        let capabilities = Capabilities {
            tx_checksum: offloads || random.chance(1, 4),
            tso4: offloads,
            tso6: offloads,
            max_segmented_bytes: if offloads { 65_535 } else { mtu },
            ..Capabilities::plain_ethernet(mac(number), mtu)
        };
        let mut config = draw_config(random);
        if circumstances.few_ports {
            config.tcp.ephemeral_ports = 50_000..=50_003;
        }
        Host {
            by_ipv6,
            ..Host::add_with(world, number, &capabilities, seed, config)
        }
    };
    (host(1), host(2), mtu)
}

fn draw_config(random: &mut Random) -> Config {
    let mut config = Config::default();
    config.tcp.sack = random.chance(5, 6);
    config.tcp.timestamps = random.chance(4, 5);
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

/// What happens to a host, and after how many events.
pub(super) fn draw_fault(random: &mut Random, hosts: [HostId; 2]) -> Option<(u64, Fault)> {
    let host = hosts[random.below(2) as usize];
    let fault = match random.below(20) {
        0 => Fault::Kill(host),
        1 | 2 => Fault::Freeze(host, Duration::from_millis(random.below(20_000))),
        _ => return None,
    };
    Some((random.below(600), fault))
}

pub(super) fn draw_connections(random: &mut Random, weather: Weather) -> Vec<Connection> {
    let count = match random.below(4) {
        0 => 1 + random.below(12),
        _ => 1 + random.below(3),
    };
    (0..count)
        .map(|number| {
            let patterns = (Pattern::new(number, 0), Pattern::new(number, 1));
            let client = draw_plan(random, patterns.0, patterns.1, weather);
            let server = draw_plan(random, patterns.1, patterns.0, weather);
            let (client, server) = fit(client, server);
            Connection {
                client: (client, Record::default()),
                server: (server, Record::default()),
            }
        })
        .collect()
}

fn draw_plan(random: &mut Random, sends: Pattern, expects: Pattern, weather: Weather) -> Plan {
    let total = match random.below(12) {
        0..2 => 0,
        2..6 => random.below(2_000),
        6..9 => random.below(50_000),
        9..11 => random.below(300_000),
        _ if weather == Weather::Severe => random.below(300_000),
        _ => random.below(2_000_000),
    };
    let ending = match random.below(14) {
        0 => Ending::Abort(random.below(total + 1)),
        1 => Ending::Leave(random.below(30_000)),
        _ => Ending::Orderly,
    };
    Plan {
        sends,
        total,
        expects,
        write: Pace::draw(random),
        read: Pace::draw(random),
        ending,
        copies: random.chance(1, 2),
        no_delay: random.chance(1, 3),
    }
}

/// Keeps the work of a life in bounds: nobody moves a megabyte in pieces of ten bytes.
fn fit(mut client: Plan, mut server: Plan) -> (Plan, Plan) {
    let bound = |writes: &Pace, reads: &Pace| match writes.sizes.1.min(reads.sizes.1) {
        0..100 => 4_000,
        100..2000 => 150_000,
        _ => u64::MAX,
    };
    client.total = client.total.min(bound(&client.write, &server.read));
    server.total = server.total.min(bound(&server.write, &client.read));
    (client, server)
}
