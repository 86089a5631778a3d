//! A service and its clients, ready to be disturbed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use outlive::engine::{Config, Stack};
use outlive_driver::impairment::Impairment;
use outlive_driver::{Capabilities, Instant};

use super::calling::{Manner, Record, call};
use super::channels::Quality;
use super::local_clock::LocalClock;
use super::machine::Client;
use super::script::Script;
use super::server::{Alone, PORT, capabilities, configured, service};
use super::serving::{Complaints, serve};
use super::world::World;
use crate::simulation::host::{address, mac};
use crate::simulation::node::OurNode;
use crate::simulation::world::Violation;
use outlive::ip::{self, Cidr};
use outlive::socket::asynchronous::TcpListener;

/// Clients have the host numbers of their addresses from here on.
const FIRST_CLIENT: u8 = 10;

/// What a cluster is made of.
#[derive(Clone)]
pub struct Setting {
    /// Of everything random.
    pub seed: u64,
    /// Of the servers' stacks.
    pub server: Config,
    /// Of the clients' stacks.
    pub client: Config,
    /// How many clients.
    pub clients: u8,
    /// Of all cables of the service network.
    pub cables: Impairment,
    /// Of the network between the replicas.
    pub quality: Quality,
    /// Of all hosts.
    pub mtu: usize,
    /// The hosts' clocks, in order; those without one have the world's.
    pub clocks: Vec<LocalClock>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            seed: 1,
            server: Config::default(),
            client: Config::default(),
            clients: 1,
            cables: Impairment {
                delay: Duration::from_micros(500),
                ..Impairment::default()
            },
            quality: Quality::default(),
            mtu: 1500,
            clocks: Vec::new(),
        }
    }
}

/// A connection that a client was asked to make.
pub struct Connection {
    /// What it does.
    pub script: Script,
    /// How its client goes about it.
    pub manner: Manner,
    /// What its client saw.
    pub record: Record,
}

/// Servers, clients, connections.
pub struct Cluster {
    /// The world that they live in.
    pub world: World,
    /// What was asked for so far.
    pub connections: Vec<Connection>,
    clients: Vec<(usize, Stack)>,
    complaints: Complaints,
}

impl Cluster {
    /// One server that nobody stands in for.
    #[must_use]
    pub fn alone(setting: &Setting) -> Self {
        let mut world = World::new(setting.seed, 0, setting.quality.clone());
        let complaints = Complaints::default();
        let (clock, noted) = (world.clock(), Rc::clone(&complaints));
        let (config, seed, mtu) = (setting.server.clone(), setting.seed, setting.mtu);
        let boot = move |now: Instant, tasks: &mut crate::simulation::tasks::Tasks| {
            let capabilities = capabilities(mtu, false);
            let server = Alone::new(&capabilities, configured(config.clone(), seed), now);
            let listener = TcpListener::bind(&server.stack(), ("0.0.0.0", PORT));
            let listener = listener.expect("the port is free");
            let spawner = tasks.spawner();
            tasks.spawn_service(serve(clock.clone(), spawner, listener, Rc::clone(&noted)));
            Box::new(server) as Box<dyn super::machine::Machine>
        };
        world.add(clock_of(setting, 0), &setting.cables, Box::new(boot));
        let mut cluster = Self {
            world,
            connections: Vec::new(),
            clients: Vec::new(),
            complaints,
        };
        cluster.add_clients(setting);
        cluster
    }

    fn add_clients(&mut self, setting: &Setting) {
        for index in 0..setting.clients {
            let number = FIRST_CLIENT + index;
            let capabilities = Capabilities::plain_ethernet(mac(number), setting.mtu);
            let cidr = Cidr::new(address(number).into(), 24).expect("24 bits are possible");
            let config = Config {
                ip: ip::Config {
                    addresses: vec![cidr],
                    ..setting.client.ip.clone()
                },
                seed: Some(setting.seed ^ u64::from(number) << 48),
                ..setting.client.clone()
            };
            let stack: Rc<RefCell<Option<Stack>>> = Rc::default();
            let made = Rc::clone(&stack);
            let boot = move |now, _: &mut crate::simulation::tasks::Tasks| {
                let node = OurNode::new_at(&capabilities, config.clone(), now);
                *made.borrow_mut() = Some(node.stack());
                Box::new(Client(node)) as Box<dyn super::machine::Machine>
            };
            let clock = clock_of(setting, 3 + usize::from(index));
            let host = self.world.add(clock, &setting.cables, Box::new(boot));
            let stack = stack.borrow_mut().take().expect("it was started");
            self.clients.push((host, stack));
        }
    }

    /// A client begins a connection.
    pub fn call(&mut self, client: usize, script: Script, manner: Manner) {
        if script.aborts() {
            let number = FIRST_CLIENT + client as u8;
            self.world.oracle.allow_reset(address(number).into());
        }
        let (host, stack) = self.clients[client].clone();
        let record = Record::default();
        let calling = call(
            self.world.clock(),
            stack,
            service(),
            script.clone(),
            manner.clone(),
            Rc::clone(&record),
        );
        self.world.spawn(host, calling);
        self.connections.push(Connection {
            script,
            manner,
            record,
        });
    }

    /// Runs until all clients are done.
    ///
    /// # Errors
    /// When an oracle is violated, or they are not done after `limit`.
    pub fn finish(&mut self, limit: Duration) -> Result<(), Violation> {
        let records: Vec<_> = self
            .connections
            .iter()
            .map(|c| Rc::clone(&c.record))
            .collect();
        let all_done = move |_: &World| records.iter().all(|record| record.borrow().done);
        let done = self.world.run_until(limit, all_done)?;
        if done {
            return Ok(());
        }
        let open = self.connections.iter().filter(|c| !c.record.borrow().done);
        let open: Vec<_> = open
            .map(|c| (&c.script, c.record.borrow().clone()))
            .collect();
        Err(self
            .world
            .violation(&format!("not done after {limit:?}: {open:?}")))
    }

    /// Holds what all clients saw against their scripts.
    ///
    /// # Errors
    /// What was wrong.
    pub fn judge(&self) -> Result<(), Violation> {
        for connection in &self.connections {
            let seen = connection.record.borrow();
            seen.judge(&connection.script, connection.manner.to_end)
                .map_err(|what| {
                    let what = format!("{what}; script {:?}", connection.script);
                    self.world.violation(&what)
                })?;
        }
        let noted = self.complaints.borrow();
        let complaints = self.world.oracle.complaints().iter().chain(noted.iter());
        match complaints.into_iter().next() {
            Some(complaint) => Err(self.world.violation(complaint)),
            None => Ok(()),
        }
    }
}

fn clock_of(setting: &Setting, index: usize) -> LocalClock {
    setting.clocks.get(index).copied().unwrap_or_default()
}
