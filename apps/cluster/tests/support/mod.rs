//! Two hosts in one process, linked over loopback.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test program uses some of it, and nobody else does"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use outlive_cluster::key::Key;
use outlive_cluster::link::{Buffer, Event, Handler, Links, Options, Peer};
use outlive_cluster::{Channel, HostId};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a host was told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    Received(Channel, Bytes),
    Connected(bool),
    Died,
}

struct Notes {
    told: Sender<Told>,
    /// While set, whoever delivers waits: a process that is paused.
    frozen: Arc<AtomicBool>,
}

impl Handler for Notes {
    fn received(&self, _: HostId, channel: Channel, message: Bytes) {
        while self.frozen.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let _ = self.told.send(Told::Received(channel, message));
    }

    fn connected(&self, _: HostId, up: bool) {
        let _ = self.told.send(Told::Connected(up));
    }

    fn process_died(&self, _: HostId) {
        let _ = self.told.send(Told::Died);
    }
}

/// A host with its heartbeat thread.
pub struct Host {
    pub links: Arc<Links>,
    pub told: Receiver<Told>,
    pub frozen: Arc<AtomicBool>,
    peer: HostId,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Host `me` of 0 and 1, at `addresses`, with the other's addresses.
    pub fn start(me: u8, key: u8, addresses: &[SocketAddr], others: &[SocketAddr]) -> Self {
        let peer = HostId(1 - me);
        let options = Options {
            me: HostId(me),
            addresses: addresses.to_vec(),
            peers: vec![Peer {
                host: peer,
                addresses: others.to_vec(),
                ordered: true,
            }],
            key: Key::from_bytes([key; 32]),
        };
        let links = Links::bind(&options).expect("loopback addresses");
        let (sender, told) = channel();
        let frozen = Arc::new(AtomicBool::new(false));
        let handler: Arc<dyn Handler> = Arc::new(Notes {
            told: sender,
            frozen: Arc::clone(&frozen),
        });
        links.start(&handler).expect("threads");
        let ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let (links, ended) = (Arc::clone(&links), Arc::clone(&ended));
            std::thread::spawn(move || {
                let mut buffer = Buffer::default();
                while !ended.load(Ordering::Acquire) {
                    links.turn(None, &mut buffer, &*handler).expect("poll");
                }
            })
        };
        Self {
            links,
            told,
            frozen,
            peer,
            ended,
            thread: Some(thread),
        }
    }

    pub fn send(&self, channel: Channel, message: impl Into<Bytes>) {
        self.links.send(self.peer, channel, message.into());
    }

    pub fn count(&self, event: Event) -> u64 {
        self.links.counters().get(event)
    }

    /// The next thing that this host is told.
    pub fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("something happens")
    }

    /// Waits until this host is told `wanted`; what comes before is forgotten.
    pub fn wait_for(&self, wanted: &Told) {
        while self.next() != *wanted {}
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.frozen.store(false, Ordering::Release);
        self.ended.store(true, Ordering::Release);
        self.links.wake();
        self.links.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An address of loopback that nobody else has, and that stays free while its host is not there: each process has an IP
/// address of its own, and the port is none that the kernel gives to connections, such as those of the tests beside.
pub fn address() -> SocketAddr {
    static NEXT_PORT: AtomicU16 = AtomicU16::new(7700);
    let [high, middle, low] = [16, 8, 0].map(|shift| (std::process::id() >> shift) as u8);
    let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
    // Process numbers have 22 bits.
    ([127, 64 | high, middle, low], port).into()
}

/// Repeats `step` until it says true.
pub fn until(what: &str, mut step: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !step() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}
