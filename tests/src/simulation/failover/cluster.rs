//! A service and its clients, ready to be disturbed.

use std::rc::Rc;
use std::time::Duration;

use outlive::engine::{Config, Stack};
use outlive::replication::survival::{ReplayOptions, Survival};
use outlive::tcp::gate::Hot;
use outlive_driver::impairment::Impairment;

use super::calling::{Manner, Record, call};
use super::channels::Quality;
use super::local_clock::LocalClock;
use super::script::Script;
use super::server::service;
use super::serving::Complaints;
use super::world::World;
use crate::simulation::world::Violation;

/// The witness's number in the world.
pub const WITNESS: usize = 2;
/// Clients have the host numbers of their addresses from here on.
pub(super) const FIRST_CLIENT: u8 = 10;

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
    /// How connections outlive their server.
    pub survival: Survival,
    /// Cables carry segments of 64 KiB as they are, and nobody watches them: for what is very long.
    pub fused: bool,
    /// Clients call the service by its IPv6 address.
    pub by_ipv6: bool,
    /// The switch never learns where the service is, and brings what is for it to both servers.
    pub flooded: bool,
    /// Bytes that servers say before they are asked anything.
    pub greeting: u64,
    /// How long the application of each server takes before every step.
    pub pauses: [Duration; 2],
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
            survival: Survival::Replay(ReplayOptions {
                log_bytes: 4 << 20,
                hot: Hot::Never,
            }),
            fused: false,
            by_ipv6: false,
            flooded: false,
            greeting: 0,
            pauses: [Duration::ZERO; 2],
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
    pub(super) clients: Vec<(usize, Stack)>,
    pub(super) by_ipv6: bool,
    pub(super) complaints: Complaints,
    pub(super) greeting: u64,
}

impl Cluster {
    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Who serves.
    #[must_use]
    pub fn owner(&self) -> Option<usize> {
        self.world.owners().first().copied()
    }

    /// A client begins a connection.
    pub fn call(&mut self, client: usize, mut script: Script, manner: Manner) {
        script.greeting = self.greeting;
        let (host, stack) = self.clients[client].clone();
        let record = Record::default();
        if script.aborts() {
            self.world.oracle.allow_reset(Rc::clone(&record));
        }
        let calling = call(
            self.world.clock(),
            stack,
            service(self.by_ipv6),
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

    /// Connections that were begun and are not done.
    #[must_use]
    pub fn open(&self) -> u64 {
        let seen = self.connections.iter().map(|c| c.record.borrow());
        let open = seen.filter(|seen| seen.address.is_some() && !seen.done);
        open.count() as u64
    }

    /// Runs until one server serves and the other one has a complete copy.
    ///
    /// # Errors
    /// When an oracle is violated, or that takes longer than `limit`.
    pub fn settle(&mut self, limit: Duration) -> Result<(), Violation> {
        if self.world.run_until(limit, World::is_whole)? {
            return Ok(());
        }
        let what = format!("no pair in sync after {limit:?}");
        Err(self.world.violation(&what))
    }

    /// Runs until all clients are done.
    ///
    /// # Errors
    /// When an oracle is violated, or they are not done after `limit`.
    pub fn finish(&mut self, limit: Duration) -> Result<(), Violation> {
        let records = self.connections.iter().map(|c| Rc::clone(&c.record));
        let records: Vec<_> = records.collect();
        let all_done = move |_: &World| records.iter().all(|record| record.borrow().done);
        let done = self.world.run_until(limit, all_done)?;
        if done {
            return Ok(());
        }
        let open = self.connections.iter().filter(|c| !c.record.borrow().done);
        let open: Vec<_> = open
            .map(|c| (&c.script, c.record.borrow().clone()))
            .collect();
        let what = format!("not done after {limit:?}: {open:?}");
        Err(self.world.violation(&what))
    }

    /// Holds what all clients saw against their scripts.
    ///
    /// # Errors
    /// What was wrong.
    pub fn judge(&self) -> Result<(), Violation> {
        for connection in &self.connections {
            let seen = connection.record.borrow();
            let judged = seen.judge(&connection.script, connection.manner.to_end);
            judged.map_err(|what| {
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
