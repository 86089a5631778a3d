//! All links of a host, and their threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags};
use parking_lot::Mutex;
use thiserror::Error;

use super::counters::Counters;
use super::datagrams::{self, Arrival, Datagrams};
use super::dial::Dialler;
use super::handler::Handler;
use super::listen::{Doorman, listen};
use super::peer::{Dial, PeerLink};
use super::wake::{Wake, is_ready, wait};
use crate::id::{Channel, HostId, PathId};
use crate::key::Key;
use outlive::engine::clock;
use outlive::random::Random;
use outlive::time::Instant;

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub host: HostId,
    /// Its addresses, in the order of the paths.
    pub addresses: Vec<SocketAddr>,
    /// Whether there are ordered channels with it. With a witness there are none.
    pub ordered: bool,
}

/// What links are made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// This host.
    pub me: HostId,
    /// Our addresses, one per path; the first path is the replication network.
    pub addresses: Vec<SocketAddr>,
    /// The others.
    pub peers: Vec<Peer>,
    /// The key of the cluster.
    pub key: Key,
}

/// Why links cannot be made.
#[derive(Debug, Error)]
pub enum LinkError {
    /// An address of ours cannot be used.
    #[error(
        "cannot use {0} of this host's `paths`: {1}; is it an address of this host (`ip address`), and its port free?"
    )]
    Address(SocketAddr, #[source] io::Error),
    /// No threads or descriptors.
    #[error("the operating system gives no thread or descriptor: {0}")]
    Resources(#[from] io::Error),
}

/// All links of a host.
pub struct Links {
    datagrams: Datagrams,
    peers: Vec<Arc<PeerLink>>,
    counters: Arc<Counters>,
    /// Wakes the heartbeat thread.
    wake: Wake,
    stop: Wake,
    prepared: Mutex<Option<Prepared>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads start from.
struct Prepared {
    doorman: Doorman,
    listeners: Vec<TcpListener>,
    diallers: Vec<(Arc<PeerLink>, Option<Dialler>)>,
}

impl Links {
    /// Binds all addresses. Nothing is sent or received before [`Self::start`] and [`Self::turn`].
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn bind(options: &Options) -> Result<Arc<Self>, LinkError> {
        let counters = Arc::<Counters>::default();
        let mut random = Random::from_seed(getrandom::u64().map_err(io::Error::from)?);
        let bind = |address: &SocketAddr| {
            datagrams::bind(*address).map_err(|error| LinkError::Address(*address, error))
        };
        let sockets = options
            .addresses
            .iter()
            .map(bind)
            .collect::<Result<_, _>>()?;
        let ordered: Vec<_> = options.peers.iter().filter(|peer| peer.ordered).collect();
        let links: Vec<_> = ordered
            .iter()
            .map(|peer| Arc::new(PeerLink::new(peer.host, Arc::clone(&counters))))
            .collect();
        let prepared = Prepared::new(options, &ordered, &links, &counters)?;
        let peers = options.peers.iter();
        let peers = peers
            .map(|peer| (peer.host, peer.addresses.clone()))
            .collect();
        Ok(Arc::new(Self {
            datagrams: Datagrams::new(
                &options.key,
                options.me,
                sockets,
                peers,
                Arc::clone(&counters),
                &mut random,
            ),
            peers: links,
            counters,
            wake: Wake::new()?,
            stop: Wake::new()?,
            prepared: Mutex::new(Some(prepared)),
            threads: Mutex::default(),
        }))
    }

    /// Starts the threads of the ordered channels. Heartbeats are the caller's: see [`Self::turn`].
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(self: &Arc<Self>, handler: &Arc<dyn Handler>) -> Result<(), LinkError> {
        let Some(prepared) = self.prepared.lock().take() else {
            return Ok(());
        };
        for (link, dialler) in prepared.diallers {
            let handler = self.with_probes(handler);
            let name = format!("link-{}", link.peer().0);
            self.spawn(name, move || {
                link.run(dialler.as_ref().map(|it| it as &dyn Dial), &handler);
            })?;
        }
        let links = Arc::clone(self);
        let (doorman, listeners) = (prepared.doorman, prepared.listeners);
        self.spawn("link-accept".into(), move || {
            std::thread::scope(|scope| doorman.run(scope, &listeners, &links.stop));
        })
    }

    fn spawn(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<(), LinkError> {
        let thread = std::thread::Builder::new().name(name).spawn(body)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// A broken channel is a reason to ask at once whether the process is gone.
    fn with_probes(self: &Arc<Self>, handler: &Arc<dyn Handler>) -> Probing {
        Probing {
            links: Arc::clone(self),
            handler: Arc::clone(handler),
        }
    }

    /// Sends a message. Any thread may; never waits. What cannot be sent is counted and dropped; an ordered
    /// channel that falls behind breaks instead.
    pub fn send(&self, to: HostId, channel: Channel, message: Bytes) {
        let bulk = match channel {
            Channel::Heartbeat(path) => return self.datagrams.send(to, path, &message),
            Channel::Commit => false,
            Channel::Bulk => true,
        };
        if let Some(link) = self.peers.iter().find(|link| link.peer() == to) {
            link.send(bulk, message);
        }
    }

    /// True while both ordered channels with `peer` are up.
    #[must_use]
    pub fn is_connected(&self, peer: HostId) -> bool {
        let mut links = self.peers.iter();
        links.any(|link| link.peer() == peer && link.is_connected())
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// One turn of the heartbeat thread: waits for datagrams until `deadline`, at most, and hands them to
    /// `handler`. Only one thread may call it.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn turn(
        &self,
        deadline: Option<Instant>,
        buffer: &mut Buffer,
        handler: &dyn Handler,
    ) -> io::Result<()> {
        let earliest = [deadline, self.datagrams.next_deadline()];
        let earliest = earliest.into_iter().flatten().min();
        let timeout = earliest.map(|at| at.since(clock::now()));
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let fds = self.datagrams.sockets().chain([self.wake.as_fd()]);
        let mut fds: Vec<_> = fds.map(watch).collect();
        wait(&mut fds, timeout)?;
        if fds.pop().as_ref().is_some_and(is_ready) {
            self.wake.clear();
        }
        let now = clock::now();
        for (path, fd) in (0..).map(PathId).zip(&fds) {
            if is_ready(fd) {
                self.datagrams
                    .receive(now, path, &mut buffer.bytes, &mut buffer.arrivals);
            }
        }
        for arrival in buffer.arrivals.drain(..) {
            match arrival {
                Arrival::Message(from, path, message) => {
                    handler.received(from, Channel::Heartbeat(path), message);
                }
                Arrival::Unreachable(host) => handler.process_died(host),
            }
        }
        self.datagrams.poll(now);
        Ok(())
    }

    /// Ends [`Self::turn`]'s wait.
    pub fn wake(&self) {
        self.wake.wake();
    }

    /// Ends the ordered channels and their threads.
    pub fn stop(&self) {
        self.stop.wake();
        for link in &self.peers {
            link.stop();
        }
        let threads: Vec<_> = self.threads.lock().drain(..).collect();
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Prepared {
    fn new(
        options: &Options,
        ordered: &[&Peer],
        links: &[Arc<PeerLink>],
        counters: &Arc<Counters>,
    ) -> Result<Self, LinkError> {
        let comes_to_us = |peer: &Peer| peer.host < options.me;
        let pairs = || ordered.iter().zip(links);
        let listening = ordered.iter().any(|peer| comes_to_us(peer));
        let mut listeners = Vec::new();
        for address in options.addresses.iter().filter(|_| listening) {
            let listener = listen(*address);
            listeners.push(listener.map_err(|error| LinkError::Address(*address, error))?);
        }
        let doorman = Doorman {
            key: options.key.clone(),
            me: options.me,
            peers: pairs()
                .filter(|(peer, _)| comes_to_us(peer))
                .map(|(_, link)| Arc::clone(link))
                .collect(),
            addresses: ordered
                .iter()
                .flat_map(|peer| peer.addresses.iter().map(SocketAddr::ip))
                .collect(),
            counters: Arc::clone(counters),
            handshakes: AtomicUsize::new(0),
        };
        let dialler = |peer: &Peer| Dialler {
            key: options.key.clone(),
            me: options.me,
            peer: peer.host,
            routes: std::iter::zip(options.addresses.clone(), peer.addresses.clone()).collect(),
        };
        let diallers = pairs().map(|(peer, link)| {
            let dialler = (!comes_to_us(peer)).then(|| dialler(peer));
            (Arc::clone(link), dialler)
        });
        Ok(Self {
            diallers: diallers.collect(),
            doorman,
            listeners,
        })
    }
}

/// What [`Links::turn`] works in.
pub struct Buffer {
    bytes: Vec<u8>,
    arrivals: Vec<Arrival>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: datagrams::buffer(),
            arrivals: Vec::new(),
        }
    }
}

/// Passes everything on, and asks after a host whose channels broke.
struct Probing {
    links: Arc<Links>,
    handler: Arc<dyn Handler>,
}

impl Handler for Probing {
    fn received(&self, from: HostId, channel: Channel, message: Bytes) {
        self.handler.received(from, channel, message);
    }

    fn connected(&self, peer: HostId, up: bool) {
        if !up {
            self.links.datagrams.probe(peer);
        }
        self.handler.connected(peer, up);
    }

    fn process_died(&self, peer: HostId) {
        self.handler.process_died(peer);
    }
}
