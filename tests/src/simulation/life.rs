//! One seed, one life: two or three hosts, links of some quality, a few connections with applications of
//! every temper, and the oracles that judge how it went.

use std::net::SocketAddr;
use std::time::Duration;

use outlive::engine::Config;
use outlive_driver::impairment::{Burst, Impairment, Rate};
use outlive_driver::{Capabilities, Random};

use super::application::{Directory, End, Ending, Pace, Plan, Record, Seen, connect, serve};
use super::host::{Host, mac};
use super::pattern::Pattern;
use super::watcher::Watcher;
use super::world::{Fault, HostId, Violation, World};

const PORT: u16 = 80;
/// Virtual time in which all applications have to finish.
const LIMIT: Duration = Duration::from_secs(7200);
/// Virtual time in which the stacks then have to forget everything: TIME-WAIT, and the last
/// retransmissions to a host that has gone.
const AFTERMATH: Duration = Duration::from_secs(2400);

/// Transmissions of one segment without an answer after which a host may give up: the SYN and its 6
/// retransmissions are the fewest.
const GIVING_UP: u32 = 7;

/// What a life was like, for the sum over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections.
    pub lives: u64,
    /// Bytes that applications read.
    pub bytes: u64,
    /// TCP segments sent.
    pub segments: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Connections that did not close in order, by plan.
    pub broken_off: u64,
    /// Connections that failed for a reason that the links explain.
    pub lost_to_links: u64,
    /// Virtual time in milliseconds.
    pub virtual_ms: u64,
}

impl Stats {
    /// Adds another life.
    pub fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.bytes += other.bytes;
        self.segments += other.segments;
        self.retransmissions += other.retransmissions;
        self.broken_off += other.broken_off;
        self.lost_to_links += other.lost_to_links;
        self.virtual_ms += other.virtual_ms;
    }
}

/// How bad the links are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    Bad,
    /// So bad that a connection may fail.
    Severe,
}

struct Connection {
    client: (Plan, Record),
    server: (Plan, Record),
}

impl Connection {
    fn is_orderly(&self) -> bool {
        [&self.client, &self.server]
            .iter()
            .all(|(plan, _)| plan.ending == Ending::Orderly)
    }
}

/// Lives through `seed`.
///
/// # Errors
/// The oracle that was violated.
pub fn live(seed: u64) -> Result<Stats, Violation> {
    let mut random = Random::from_seed(seed);
    let mut world = World::new(random.next_u64());
    let (weather, impairments) = draw_weather(&mut random);
    let (client, server) = draw_hosts(&mut world, &mut random, seed);
    world.set_link(client.id, server.id, impairments.0);
    world.set_link(server.id, client.id, impairments.1);
    if weather == Weather::Fair && random.chance(1, 4) {
        world.fuse_links(Duration::from_micros(random.below(30_000)));
    }
    let connections = draw_connections(&mut random, weather);
    start(&mut world, &client, &server, &connections, &mut random);
    let fault = draw_fault(&mut random, [client.id, server.id]);
    if let Some((event, fault)) = fault {
        world.at_event(event, fault);
    }

    let done = world.run_until_done(LIMIT)?;
    if !done {
        let open: Vec<_> = connections
            .iter()
            .map(|c| (c.client.1.borrow().clone(), c.server.1.borrow().clone()))
            .collect();
        return Err(Violation(format!(
            "applications did not finish in {LIMIT:?}: {open:?}"
        )));
    }
    let virtual_ms = world.now().as_millis();
    world.stop_services();
    world.run_until_idle(AFTERMATH)?;
    for host in [&client, &server]
        .into_iter()
        .filter(|host| world.is_alive(host.id))
    {
        let left = host.stack.connections();
        if left != 0 {
            return Err(Violation(format!(
                "host {} still has {left} connections after {AFTERMATH:?}",
                host.number
            )));
        }
    }
    let killed = matches!(fault, Some((_, Fault::Kill(_))));
    if weather == Weather::Fair && fault.is_none() && connections.iter().all(Connection::is_orderly)
    {
        nothing_in_vain(&world, [&client, &server])?;
    }
    let mut stats = Stats {
        lives: connections.len() as u64,
        segments: world.watcher.segments,
        retransmissions: world.watcher.retransmissions,
        virtual_ms,
        ..Stats::default()
    };
    for (index, connection) in connections.iter().enumerate() {
        judge(connection, killed, &world.watcher, &mut stats)
            .map_err(|what| Violation(format!("connection {index}: {what}")))?;
    }
    Ok(stats)
}

fn draw_weather(random: &mut Random) -> (Weather, (Impairment, Impairment)) {
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
    let fair = Impairment {
        delay,
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

fn draw_hosts(world: &mut World, random: &mut Random, seed: u64) -> (Host, Host) {
    let mtu = match random.below(4) {
        0 => 576 + random.below(9000 - 576) as usize,
        1 => 9000,
        _ => 1500,
    };
    let mut host = |number| {
        let offloads = random.chance(1, 3);
        let capabilities = Capabilities {
            tx_checksum: offloads || random.chance(1, 4),
            tso4: offloads,
            max_segmented_bytes: if offloads { 65_535 } else { mtu },
            ..Capabilities::plain_ethernet(mac(number), mtu)
        };
        let config = draw_config(random);
        Host::add_with(world, number, &capabilities, seed, config)
    };
    (host(1), host(2))
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
    config.tcp.max_send_buffer_bytes = 1 << 20;
    config.tcp.max_receive_buffer_bytes = 1 << 20;
    config
}

/// What happens to a host, and after how many events.
fn draw_fault(random: &mut Random, hosts: [HostId; 2]) -> Option<(u64, Fault)> {
    let host = hosts[random.below(2) as usize];
    let fault = match random.below(20) {
        0 => Fault::Kill(host),
        1 | 2 => Fault::Freeze(host, Duration::from_millis(random.below(20_000))),
        _ => return None,
    };
    Some((random.below(600), fault))
}

/// On links that lose nothing and keep the order, nothing may be sent twice, and nothing dropped but the
/// probes of closed windows.
fn nothing_in_vain(world: &World, hosts: [&Host; 2]) -> Result<(), Violation> {
    let again = world.watcher.retransmissions;
    let wasted = |(name, _): &(&str, u64)| {
        name.contains("_drop_") || ["tcp_timeouts", "tcp_retransmitted_segments"].contains(name)
    };
    let counted = hosts
        .iter()
        .flat_map(|host| host.stack.counters().non_zero());
    let counted: Vec<_> = counted.filter(wasted).collect();
    let total: u64 = counted.iter().map(|&(_, value)| value).sum();
    if again > 0 || total > world.watcher.probes {
        let probes = world.watcher.probes;
        let what =
            format!("on perfect links: {again} segments sent twice, {probes} probes, {counted:?}");
        return Err(Violation(what));
    }
    Ok(())
}

fn draw_connections(random: &mut Random, weather: Weather) -> Vec<Connection> {
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

fn start(
    world: &mut World,
    client: &Host,
    server: &Host,
    connections: &[Connection],
    random: &mut Random,
) {
    let directory = Directory::default();
    let service = serve(
        world.clock(),
        world.spawner(server.id),
        server.listen(PORT),
        directory.clone(),
    );
    world.spawn_service(server.id, service);
    for connection in connections {
        let (clock, stack, directory) = (world.clock(), client.stack.clone(), directory.clone());
        let (plan, record) = connection.client.clone();
        let (their_plan, their_record) = connection.server.clone();
        let remote = server.at(PORT);
        let begin = Duration::from_micros(random.below(2) * random.below(200_000));
        world.spawn(client.id, async move {
            clock.sleep(begin).await;
            let connected = |address| directory.insert(address, their_plan, their_record);
            connect(clock, stack, remote, plan, record, connected).await;
        });
    }
}

/// The byte-stream and liveness oracle for one connection.
fn judge(
    connection: &Connection,
    killed: bool,
    watcher: &Watcher,
    stats: &mut Stats,
) -> Result<(), String> {
    let (client, server) = (connection.client.1.borrow(), connection.server.1.borrow());
    let told = format!(
        "client {:?} saw {client:?}; server {:?} saw {server:?}",
        connection.client.0.ending, connection.server.0.ending
    );
    let (a, b) = (&connection.client.0, &connection.server.0);
    direction(a, killed, &client, &server)
        .map_err(|what| format!("to the server: {what}: {told}"))?;
    direction(b, killed, &server, &client)
        .map_err(|what| format!("to the client: {what}: {told}"))?;
    stats.bytes += client.received + server.received;
    let orderly = !killed && connection.is_orderly();
    let complete = |seen: &Seen| seen.reading == End::Complete && seen.writing == End::Complete;
    if orderly && !(complete(&client) && complete(&server)) {
        let unanswered = match client.address {
            Some(SocketAddr::V4(address)) => watcher.most_unanswered(address),
            _ => watcher.most_unanswered_of_all(),
        };
        if unanswered < GIVING_UP {
            return Err(format!(
                "both ends wanted an orderly close, and at most {unanswered} segments in a row went unanswered: {told}"
            ));
        }
        stats.lost_to_links += 1;
    }
    stats.broken_off += u64::from(!orderly);
    Ok(())
}

/// What the reader got must be what the writer gave, and an end of stream must mean all of it.
fn direction(writer: &Plan, killed: bool, wrote: &Seen, read: &Seen) -> Result<(), String> {
    if let Some(at) = read.mismatch {
        return Err(format!("wrong byte at {at}"));
    }
    if read.received > writer.total {
        return Err(format!(
            "{} bytes read, {} were to be sent",
            read.received, writer.total
        ));
    }
    let ended = read.reading == End::Complete;
    if ended
        && (wrote.writing != End::Complete || read.received != writer.total)
        && !matches!(writer.ending, Ending::Leave(_))
    {
        return Err(format!("end of stream after {} bytes", read.received));
    }
    let unfinished = writer.ending == Ending::Orderly && wrote.writing == End::Open;
    if read.reading == End::Silent && unfinished && !killed {
        return Err("silence".into());
    }
    Ok(())
}
