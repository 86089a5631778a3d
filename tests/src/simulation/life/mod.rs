//! One seed, one life: a client and a server, links of some quality, a few connections with applications of
//! every temper, perhaps a fault, and the oracles that judge how it went.

mod draw;
mod judge;

use std::time::Duration;

use outlive::socket::asynchronous::TcpListener;
use outlive_driver::Random;

use self::draw::{Circumstances, Weather};
use super::application::{Directory, Ending, Plan, Record, connect, serve};
use super::host::Host;
use super::world::{Fault, Violation, World};

const PORT: u16 = 80;
/// Virtual time in which all applications have to finish.
const LIMIT: Duration = Duration::from_secs(7200);
/// Virtual time in which the stacks then have to forget everything: TIME-WAIT, and the last
/// retransmissions to a host that has gone.
const AFTERMATH: Duration = Duration::from_secs(2400);

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
    /// Connections that found no port to come from, where there were too few.
    pub without_port: u64,
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
        self.without_port += other.without_port;
        self.virtual_ms += other.virtual_ms;
    }
}

/// What both ends of a connection are to do, and what they saw.
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

/// Everything that a seed stands for.
struct Life {
    world: World,
    weather: Weather,
    circumstances: Circumstances,
    client: Host,
    server: Host,
    connections: Vec<Connection>,
    fault: Option<(u64, Fault)>,
}

/// Lives through `seed`.
///
/// # Errors
/// The oracle that was violated.
pub fn live(seed: u64) -> Result<Stats, Violation> {
    let mut life = Life::draw(seed);
    let done = life.world.run_until_done(LIMIT)?;
    if !done {
        let seen = |c: &Connection| (c.client.1.borrow().clone(), c.server.1.borrow().clone());
        let open: Vec<_> = life.connections.iter().map(seen).collect();
        let what = format!("applications did not finish in {LIMIT:?}: {open:?}");
        return Err(Violation(what));
    }
    let virtual_ms = life.world.now().as_millis();
    life.world.stop_services();
    life.world.run_until_idle(AFTERMATH)?;
    let watcher = &life.world.watcher;
    let mut stats = Stats {
        lives: life.connections.len() as u64,
        segments: watcher.segments,
        retransmissions: watcher.retransmissions,
        virtual_ms,
        ..Stats::default()
    };
    life.judge(&mut stats)?;
    Ok(stats)
}

impl Life {
    fn draw(seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        let mut world = World::new(random.next_u64());
        let circumstances = draw::draw_circumstances(&mut random);
        let (weather, mut impairments) = draw::draw_weather(&mut random);
        let (client, server, mtu) = draw::draw_hosts(&mut world, &mut random, seed, &circumstances);
        if circumstances.black_hole {
            // What every link carries.
            let least = if server.by_ipv6 { 1280 } else { 576 };
            let mtu = Some((mtu * 3 / 4).max(least));
            (impairments.0.mtu, impairments.1.mtu) = (mtu, mtu);
        }
        world.set_link(client.id, server.id, impairments.0);
        world.set_link(server.id, client.id, impairments.1);
        if weather == Weather::Fair && !circumstances.black_hole && random.chance(1, 4) {
            world.fuse_links(Duration::from_micros(random.below(30_000)));
        }
        let connections = draw::draw_connections(&mut random, weather);
        let fault = draw::draw_fault(&mut random, [client.id, server.id]);
        if let Some((event, fault)) = fault {
            world.at_event(event, fault);
        }
        let mut life = Self {
            world,
            weather,
            circumstances,
            client,
            server,
            connections,
            fault,
        };
        life.start(&mut random);
        life
    }

    /// Starts all applications.
    fn start(&mut self, random: &mut Random) {
        let (world, server) = (&mut self.world, &self.server);
        let directory = Directory::default();
        let listen = self.circumstances.listen.clone();
        let listener = TcpListener::bind_with(&server.stack, server.at(PORT), listen);
        let service = serve(
            world.clock(),
            world.spawner(server.id),
            listener.expect("the port is free"),
            directory.clone(),
            self.circumstances.accept_pause,
        );
        world.spawn_service(server.id, service);
        // Ports are used again only if connections come one after the other.
        let spread_us = if self.circumstances.few_ports {
            20_000_000
        } else {
            200_000
        };
        for connection in &self.connections {
            let (clock, stack, directory) =
                (world.clock(), self.client.stack.clone(), directory.clone());
            let (plan, record) = connection.client.clone();
            let (their_plan, their_record) = connection.server.clone();
            let remote = server.at(PORT);
            let begin = Duration::from_micros(random.below(2) * random.below(spread_us));
            world.spawn(self.client.id, async move {
                clock.sleep(begin).await;
                let connected = |address| directory.insert(address, their_plan, their_record);
                connect(clock, stack, remote, plan, record, connected).await;
            });
        }
    }

    fn is_killed(&self) -> bool {
        matches!(self.fault, Some((_, Fault::Kill(_))))
    }
}
