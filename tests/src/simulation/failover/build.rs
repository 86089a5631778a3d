//! How a [`Cluster`] is put together.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use outlive::engine::{Config, Stack};
use outlive::ip;
use outlive::replication::membership::{self, Arbitration, Incarnation, Membership, PathId};
use outlive::replication::view::HostId;
use outlive::replication::{NodeConfig, Survival};
use outlive::socket::asynchronous::TcpListener;
use outlive::tcp::ListenOptions;
use outlive::wire::ethernet::MacAddr;
use outlive_driver::{Capabilities, Instant};

use super::cluster::{Cluster, FIRST_CLIENT, Setting};
use super::local_clock::LocalClock;
use super::machine::{Client, Machine};
use super::replica::{Disk, Replica};
use super::server::{Alone, PORT, capabilities, configured};
use super::serving::{Complaints, Service, serve};
use super::witness::Witness;
use super::world::{Boot, World};
use crate::simulation::host::{addresses, mac, skip_duplicate_detection};
use crate::simulation::node::OurNode;
use crate::simulation::tasks::{Clock, Tasks};

/// Delay of cables that nobody watches.
const FUSED_DELAY: Duration = Duration::from_micros(20);

impl Cluster {
    /// One server that nobody stands in for.
    #[must_use]
    pub fn alone(setting: &Setting) -> Self {
        let mut cluster = Self::empty(setting, 0);
        let server = setting.server.clone();
        let (seed, capabilities) = (setting.seed, capabilities(setting.mtu, false));
        let (clock, complaints) = (cluster.world.clock(), Rc::clone(&cluster.complaints));
        let service = Service {
            greeting: setting.greeting,
            survival: Survival::Unprotected,
            pause: setting.pauses[0],
        };
        let boot = move |now: Instant, tasks: &mut Tasks| {
            let config = configured(server.clone(), seed);
            let options = listen_options(&config, Survival::Unprotected);
            let server = Alone::new(&capabilities, config, now);
            start_service(
                &server.stack(),
                tasks,
                &clock,
                &complaints,
                options,
                service,
            );
            Box::new(server) as Box<dyn Machine>
        };
        cluster.add(setting, 0, Box::new(boot));
        cluster.add_clients(setting);
        cluster
    }

    /// Two servers and their witness.
    #[must_use]
    pub fn pair(setting: &Setting) -> Self {
        let mut cluster = Self::empty(setting, 3);
        for number in 0..2 {
            let boot = server_boot(setting, number, &cluster);
            cluster.add(setting, usize::from(number), boot);
        }
        cluster.add(setting, 2, witness_boot(setting));
        cluster.add_clients(setting);
        cluster
    }

    fn empty(setting: &Setting, replicas: usize) -> Self {
        let mut world = World::new(setting.seed, replicas, setting.quality.clone());
        if setting.fused {
            world.oracle.set_fused();
        }
        if setting.flooded {
            world.oracle.set_flooded();
        }
        Self {
            world,
            connections: Vec::new(),
            clients: Vec::new(),
            by_ipv6: setting.by_ipv6,
            complaints: Complaints::default(),
            greeting: setting.greeting,
        }
    }

    fn add(&mut self, setting: &Setting, number: usize, boot: Boot) -> usize {
        let clock = clock_of(setting, number);
        if setting.fused {
            self.world.add_fused(clock, FUSED_DELAY, boot)
        } else {
            self.world.add(clock, &setting.cables, boot)
        }
    }

    fn add_clients(&mut self, setting: &Setting) {
        for index in 0..setting.clients {
            let number = FIRST_CLIENT + index;
            let capabilities = Capabilities {
                mac: Some(mac(number)),
                ..capabilities(setting.mtu, setting.fused)
            };
            let config = client_config(setting, number);
            let stack: Rc<RefCell<Option<Stack>>> = Rc::default();
            let made = Rc::clone(&stack);
            let boot = move |now, _: &mut Tasks| {
                let node = OurNode::new_at(&capabilities, config.clone(), now);
                *made.borrow_mut() = Some(node.stack());
                Box::new(Client(node)) as Box<dyn Machine>
            };
            let host = self.add(setting, 3 + usize::from(index), Box::new(boot));
            let stack = stack.borrow_mut().take().expect("it was started");
            self.clients.push((host, stack));
        }
    }
}

fn client_config(setting: &Setting, number: u8) -> Config {
    let mut config = setting.client.clone();
    skip_duplicate_detection(&mut config);
    Config {
        ip: ip::Config {
            addresses: addresses(number),
            ..setting.client.ip.clone()
        },
        seed: Some(setting.seed ^ u64::from(number) << 48),
        ..config
    }
}

fn start_service(
    stack: &Stack,
    tasks: &mut Tasks,
    clock: &Clock,
    complaints: &Complaints,
    options: ListenOptions,
    service: Service,
) {
    // Both families at once.
    let address = (std::net::Ipv6Addr::UNSPECIFIED, PORT).into();
    let listener = TcpListener::bind_with(stack, address, options).expect("the port is free");
    let spawner = tasks.spawner();
    tasks.spawn_service(serve(
        clock.clone(),
        spawner,
        listener,
        Rc::clone(complaints),
        service,
    ));
}

fn listen_options(config: &Config, survival: Survival) -> ListenOptions {
    ListenOptions {
        socket: config.tcp.socket.clone(),
        survival,
        ..ListenOptions::default()
    }
}

/// What every life of a process draws anew.
fn incarnation(seed: u64, number: u8, life: u64) -> Incarnation {
    Incarnation(1 + (seed << 20) + (life << 4) + u64::from(number))
}

fn membership_config(setting: &Setting, number: u8, life: u64) -> membership::Config {
    let life = incarnation(setting.seed, number, life);
    let mut config = membership::Config::new(HostId(number), Arbitration::Witness, life);
    for other in (0..3).filter(|&other| other != number) {
        for path in 0..2 {
            config = config.with_link(HostId(other), PathId(path));
        }
    }
    config
}

fn server_boot(setting: &Setting, number: u8, cluster: &Cluster) -> Boot {
    let (setting, disk) = (setting.clone(), Disk::default());
    let (clock, complaints) = (cluster.world.clock(), Rc::clone(&cluster.complaints));
    let lives = std::cell::Cell::new(0);
    Box::new(move |now: Instant, tasks: &mut Tasks| {
        lives.set(lives.get() + 1);
        let seed = setting.seed ^ u64::from(number) << 40 ^ lives.get() << 44;
        let capabilities = capabilities(setting.mtu, setting.fused);
        let mut config = configured(setting.server.clone(), seed);
        let mut node = NodeConfig::new(membership_config(&setting, number, lives.get()));
        if setting.flooded {
            config.ethernet.source = Some(MacAddr([2, 0, 0, 9, 1, number]));
            node.flooded = true;
        }
        let options = listen_options(&config, setting.survival);
        let server = Replica::new(&capabilities, config, node, &disk, now);
        let service = Service {
            greeting: setting.greeting,
            survival: setting.survival,
            pause: setting.pauses[usize::from(number)],
        };
        start_service(
            &server.stack(),
            tasks,
            &clock,
            &complaints,
            options,
            service,
        );
        Box::new(server)
    })
}

fn witness_boot(setting: &Setting) -> Boot {
    let (setting, disk) = (setting.clone(), Disk::default());
    let lives = std::cell::Cell::new(0);
    Box::new(move |now: Instant, _: &mut Tasks| {
        lives.set(lives.get() + 1);
        let config = membership_config(&setting, 2, lives.get());
        let membership = Membership::new(config, disk.read(), now);
        Box::new(Witness::new(membership, &disk))
    })
}

fn clock_of(setting: &Setting, index: usize) -> LocalClock {
    setting.clocks.get(index).copied().unwrap_or_default()
}
