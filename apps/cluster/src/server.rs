//! A host that serves: its node, and the node's links, memory, fence and threads.

mod controlled;
mod retirement;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::companion::{Companion, Companionship};
use crate::config::{self, Arbitration, Config, UNSAFE_PAIR_WARNING};
use crate::control::{self, Controlled};
use crate::fence;
use crate::id::{Channel, HostId, PathId};
use crate::interfaces::{Interfaces, index_of, station_of};
use crate::keeper::Keeper;
use crate::key::Key;
use crate::link::{Handler, LinkError, Links};
use crate::membership::{self, StartError};
use crate::probe;
use crate::runtime::{Host, Runtime};
use crate::storage::StateFolder;

pub use self::retirement::Retirement;
use outlive::engine::{self, Stack, clock};
use outlive::replication::{Carrier, Fence, NoFence, Node, NodeConfig, Storage};
use outlive::tcp::Secret;
use outlive::time::Instant;
use outlive::wire::ethernet::MacAddr;

/// A host that serves, or is ready to.
pub struct Server {
    host: Arc<Served>,
    links: Arc<Links>,
    runtime: OnceLock<Runtime>,
}

/// What the threads share.
struct Served {
    config: Config,
    /// The same on both hosts: each accepts the SYN cookies of the other.
    cookie_secret: Secret,
    /// What frames say that they come from, if not the service's MAC address.
    source: Option<MacAddr>,
    node: Arc<Node>,
    links: Arc<Links>,
    times: Mutex<Times>,
    companionship: Companionship,
    /// Somebody brought the next deadline of the work nearer.
    work_is_due: AtomicBool,
    /// The thread of the work has done what was due, or the other host has spoken.
    news: (Mutex<()>, Condvar),
}

/// When what happened, for who asks later.
#[derive(Default)]
struct Times {
    /// The other server's last message.
    heard: Option<Instant>,
    /// From there to our last takeover.
    detection: Option<(Instant, Duration)>,
}

impl Server {
    /// A host of a cluster; silent until it is started.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn open(config: Config) -> Result<Self, StartError> {
        if config.is_witness() {
            return Err(StartError::Role(format!(
                "{}: me = 2 is the witness, which does not serve: run `outlive witness` here",
                config.path.display()
            )));
        }
        if matches!(config.arbitration, Arbitration::UnsafePair(_)) {
            tracing::warn!("{UNSAFE_PAIR_WARNING}");
        }
        let folder = StateFolder::open(&config.state_dir)?;
        let durable = membership::load(&folder)?;
        let links = membership::links(&config)?;
        let cookie_secret = Secret(Key::read(&config.key_file)?.derive("SYN cookies"));
        let source = source(&config)?;
        let (command, fence) = fence_for(&config);
        let node_config = NodeConfig {
            journal_bytes: config.survival.journal_bytes,
            commit_timeout: config.survival.commit_timeout,
            flooded: source.is_some(),
            ..NodeConfig::new(membership::options(&config)?)
        };
        let keeper = membership::keeper(folder)?;
        let node = Node::new(
            node_config,
            Arc::clone(&links) as Arc<dyn Carrier>,
            Arc::clone(&keeper) as Arc<dyn Storage>,
            fence,
            durable,
            clock::now(),
        );
        if let Some(command) = command {
            let _ = command.node.set(Arc::downgrade(&node));
        }
        tell_of_votes(&keeper, &node, &links);
        let host = Served {
            config,
            cookie_secret,
            source,
            node,
            links: Arc::clone(&links),
            times: Mutex::default(),
            companionship: Companionship::default(),
            work_is_due: AtomicBool::new(false),
            news: Default::default(),
        };
        Ok(Self {
            host: Arc::new(host),
            links,
            runtime: OnceLock::new(),
        })
    }

    /// Has a stack ask this host before it sends, and commit to the other one.
    pub fn configure(&self, engine: &mut engine::Config) {
        engine.tcp.cookie_secret = Some(self.host.cookie_secret);
        engine.ethernet.source = self.host.source;
        engine.permit = self.host.node.permit();
        engine.gate = Some(self.host.node.gate());
        engine.tcp.lockstep = self.host.config.survival.lockstep;
    }

    /// Lets an application speak with its other half. Before [`Self::start`].
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn accompany(&self, companion: Arc<dyn Companion>) -> Result<(), StartError> {
        let peer = HostId(1 - self.host.config.me.0);
        let started = self.host.companionship.start(companion, &self.links, peer);
        Ok(started.map_err(LinkError::from)?)
    }

    /// Begins to take part. The stack's listeners should be there: from now on it may have to serve.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn start(&self, stack: &Stack) -> Result<(), StartError> {
        self.host.node.attach(stack);
        let controlled = Arc::clone(&self.host) as Arc<dyn Controlled>;
        control::listen(&self.host.config.state_dir, controlled)?;
        let served = Arc::clone(&self.host) as Arc<dyn Host>;
        let runtime = Runtime::start(&self.links, &served)?;
        let _ = self.runtime.set(runtime);
        self.host.watch().map_err(LinkError::from)?;
        Ok(())
    }

    /// Gives away what this host serves, if the other one can go on with it, before this one ends.
    #[must_use]
    pub fn retire(&self) -> Retirement {
        self.host.retire()
    }

    /// Ends it; the other host takes over if it has to.
    pub fn stop(&self) {
        if let Some(runtime) = self.runtime.get() {
            runtime.stop();
        }
    }

    /// What happened on the links.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.links.counters().non_zero()
    }
}

/// What frames come from where the network brings what is for the service to both hosts.
fn source(config: &Config) -> Result<Option<MacAddr>, StartError> {
    let service = config.service.as_ref();
    let flooded = service.filter(|service| service.flooded);
    let station = flooded.map(|service| station_of(&service.interface));
    station.transpose().map_err(|error| {
        StartError::Role(format!(
            "service.flooded: {error}; write another interface, or flooded = false"
        ))
    })
}

impl Carrier for Links {
    fn send(&self, to: HostId, channel: Channel, message: Bytes) {
        Self::send(self, to, channel, message);
    }
}

/// Has the node go on once a vote is stored, and the heartbeat thread take up what follows.
fn tell_of_votes(keeper: &Keeper, node: &Arc<Node>, links: &Arc<Links>) {
    let (node, links) = (Arc::downgrade(node), Arc::clone(links));
    keeper.tell(move |outcome| {
        if let Some(node) = node.upgrade() {
            node.stored(clock::now(), &outcome);
            links.wake();
        }
    });
}

/// Runs the fence command on a thread of its own.
struct FenceCommand {
    fence: config::Fence,
    config: Config,
    node: OnceLock<Weak<Node>>,
}

fn fence_for(config: &Config) -> (Option<Arc<FenceCommand>>, Arc<dyn Fence>) {
    let Arbitration::Fence(fence) = &config.arbitration else {
        return (None, Arc::new(NoFence));
    };
    let command = Arc::new(FenceCommand {
        fence: fence.clone(),
        config: config.clone(),
        node: OnceLock::new(),
    });
    (Some(Arc::clone(&command)), command)
}

impl Fence for FenceCommand {
    #[expect(clippy::disallowed_methods, reason = "waits for a command")]
    fn fence(&self, host: HostId) {
        let (fence, node) = (self.fence.clone(), self.node.get().cloned());
        let address = self.config.others().find(|other| other.id == host);
        let address = address.and_then(|other| other.paths.first().copied());
        std::thread::spawn(move || {
            let confirmed = address.is_some_and(|address| fence::run(&fence, host, address));
            if let Some(node) = node.and_then(|node| node.upgrade()) {
                node.fenced(clock::now(), host, confirmed);
            }
        });
    }
}

impl Handler for Served {
    fn received(&self, from: HostId, channel: Channel, message: Bytes) {
        let now = clock::now();
        if from.is_server() {
            self.times.lock().heard = Some(now);
        }
        if let Some(message) = self.companionship.take(channel, message) {
            self.node.received(now, from, channel, message);
            self.tell_waiting();
        }
    }

    fn connected(&self, peer: HostId, up: bool) {
        self.node.connected(clock::now(), peer, up);
        self.companionship.connected(up);
    }

    fn process_died(&self, peer: HostId) {
        tracing::info!(%peer, "its process has ended");
        self.node.process_died(clock::now(), peer);
    }
}

impl Host for Served {
    fn beat(&self, now: Instant) -> bool {
        self.node.beat(now) | self.work_is_due.swap(false, Ordering::AcqRel)
    }

    fn next_beat(&self, now: Instant) -> Instant {
        self.node.next_beat(now)
    }

    fn work(&self, now: Instant) {
        let heard = self.times.lock().heard;
        self.node.work(now);
        let takeover = self.node.takeover();
        let mut times = self.times.lock();
        if let Some((takeover, heard)) = takeover.zip(heard)
            && times.detection.is_none_or(|(at, _)| at != takeover.at)
        {
            times.detection = Some((takeover.at, takeover.at.since(heard)));
        }
        drop(times);
        self.tell_waiting();
    }

    fn next_work(&self, now: Instant) -> Instant {
        self.node.next_work(now)
    }

    fn stood_still(&self, duration: Duration) {
        self.node.stood_still(duration);
    }
}

impl Served {
    /// There may be what `outlive handover` waits for.
    fn tell_waiting(&self) {
        let (turn, news) = &self.news;
        drop(turn.lock());
        news.notify_all();
    }

    /// Threads that only wait for news: they end with the process.
    #[expect(clippy::disallowed_methods, reason = "wait for the kernel's news")]
    fn watch(self: &Arc<Self>) -> io::Result<()> {
        let host = Arc::clone(self);
        let thread = std::thread::Builder::new().name("interfaces".into());
        thread.spawn(move || {
            if let Err(error) = host.watch_interfaces() {
                tracing::info!(%error, "cables that are out are noticed by heartbeats alone");
            }
        })?;
        let Arbitration::UnsafePair(probes) = self.config.arbitration.clone() else {
            return Ok(());
        };
        let host = Arc::clone(self);
        let thread = std::thread::Builder::new().name("probe".into());
        thread.spawn(move || {
            let from = host.config.own().paths.last().map(SocketAddr::ip);
            loop {
                let answers = probe::answers(&probes, from);
                host.node.service_answers(clock::now(), answers);
                std::thread::sleep(probe::PATIENCE);
            }
        })?;
        Ok(())
    }

    fn watch_interfaces(&self) -> io::Result<()> {
        let own = &self.config.own().paths;
        let interfaces: Vec<_> = own.iter().map(|it| index_of(it.ip())).collect();
        let mut news = Interfaces::watch()?;
        loop {
            let lost = news.wait()?;
            let paths = (0..).map(PathId).zip(&interfaces);
            let broken = |index: &Option<u32>| index.is_some_and(|index| lost.contains(&index));
            for (path, _) in paths.filter(|(_, index)| broken(index)) {
                tracing::warn!(path = path.0, "its interface carries nothing");
                for host in self.config.others() {
                    self.node.path_lost(clock::now(), host.id, path);
                }
            }
        }
    }
}
