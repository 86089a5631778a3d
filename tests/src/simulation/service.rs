//! A server and any number of clients, and exchanges between them: the fixed scenarios that directed tests
//! begin with. [`Service::pair`] is the smallest case.

use std::time::Duration;

use outlive::counters::Counter;
use outlive::engine::Config;
use outlive_driver::Capabilities;
use outlive_driver::impairment::Impairment;

use super::application::{Directory, End, Plan, Record, connect, serve};
use super::host::{Host, mac};
use super::pattern::Pattern;
use super::world::World;

/// Where the server listens.
pub const PORT: u16 = 80;
/// The server's host number; clients have those after it.
pub const SERVER: u8 = 1;

/// What both ends of an exchange saw: client, server.
pub type Records = (Record, Record);

/// A server, its clients, and the world that they live in.
pub struct Service {
    /// The world.
    pub world: World,
    /// The server.
    pub server: Host,
    /// The clients.
    pub clients: Vec<Host>,
    directory: Directory,
    exchanges: u64,
}

impl Service {
    /// One client, links with a delay of 5 ms.
    #[must_use]
    pub fn pair(config: &Config) -> Self {
        let links = Impairment {
            delay: Duration::from_millis(5),
            ..Impairment::default()
        };
        Self::new(1, config, &links)
    }

    /// So many clients, all links alike.
    #[must_use]
    pub fn new(clients: u8, config: &Config, links: &Impairment) -> Self {
        let mut world = World::new(1);
        world.set_links(links);
        let mut host = |number| {
            let capabilities = Capabilities::plain_ethernet(mac(number), 1500);
            Host::add_with(&mut world, number, &capabilities, 7, config.clone())
        };
        let server = host(SERVER);
        let clients = (1..=clients).map(|index| host(SERVER + index)).collect();
        let directory = Directory::default();
        let spawner = world.spawner(server.id);
        let service = serve(
            world.clock(),
            spawner,
            server.listen(PORT),
            directory.clone(),
            Duration::ZERO,
        );
        world.spawn_service(server.id, service);
        Self {
            world,
            server,
            clients,
            directory,
            exchanges: 0,
        }
    }

    /// Starts an exchange of `bytes` each way; the records fill in as it goes.
    pub fn begin(&mut self, client: usize, bytes: u64) -> Records {
        self.begin_with(client, |sends, expects| Plan::simple(sends, bytes, expects))
    }

    /// Starts an exchange in which both ends follow `plan`, given what they send and expect.
    pub fn begin_with(
        &mut self,
        client: usize,
        plan: impl Fn(Pattern, Pattern) -> Plan,
    ) -> Records {
        self.exchanges += 1;
        let patterns = (
            Pattern::new(self.exchanges, 0),
            Pattern::new(self.exchanges, 1),
        );
        let records = (Record::default(), Record::default());
        let (directory, theirs) = (self.directory.clone(), records.1.clone());
        let (ours, server) = (plan(patterns.0, patterns.1), plan(patterns.1, patterns.0));
        let connected = move |client| directory.insert(client, server, theirs);
        let (clock, host) = (self.world.clock(), &self.clients[client]);
        let (stack, remote) = (host.stack.clone(), self.server.at(PORT));
        let application = connect(clock, stack, remote, ours, records.0.clone(), connected);
        self.world.spawn(host.id, application);
        records
    }

    /// Lets time go by.
    ///
    /// # Panics
    /// When an oracle is violated.
    pub fn step(&mut self, duration: Duration) {
        self.world.run_for(duration).expect("no violation");
    }

    /// Runs until all applications have finished.
    ///
    /// # Panics
    /// When an oracle is violated, or they do not within 2000 s of virtual time.
    pub fn finish(&mut self) {
        let done = self.world.run_until_done(Duration::from_secs(2000));
        assert_eq!(done, Ok(true), "all applications finish");
    }

    /// One exchange with the first client from begin to end, which has to work.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_works(&mut self) {
        let records = self.begin(0, 50_000);
        self.finish();
        assert_complete(&records, 50_000);
    }

    /// A counter of the server.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.server.stack.counters().get(counter)
    }

    /// All packets that the server dropped, for whatever reason.
    #[must_use]
    pub fn drops(&self) -> u64 {
        let listed = self.server.stack.counters().non_zero();
        let drops = listed.filter(|(name, _)| name.contains("_drop_"));
        drops.map(|(_, value)| value).sum()
    }

    /// Puts a frame into the server's inbox.
    pub fn inject(&mut self, frame: Vec<u8>) {
        self.world.inject(self.server.id, frame);
    }
}

/// Both ends read all that the other sent, and its end.
///
/// # Panics
/// When they did not.
pub fn assert_complete(records: &Records, bytes: u64) {
    for record in [&records.0, &records.1] {
        let seen = record.borrow();
        let ends = (&seen.reading, &seen.writing);
        assert_eq!((seen.mismatch, seen.received), (None, bytes), "{seen:?}");
        assert_eq!(ends, (&End::Complete, &End::Complete), "{seen:?}");
    }
}
