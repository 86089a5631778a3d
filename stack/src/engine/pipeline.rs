//! The topology with a thread per stage, joined by bounded channels of batches:
//!
//! ```text
//! device -> Ethernet reader -> IP reader -> TCP/UDP reader -> TCP writer -> IP writer -> Ethernet writer -> device
//! ```
//!
//! Replies skip stages (ARP from the first reader to the last writer, ICMP from the second to the
//! second), always in the direction of the arrow, so that waiting for room never goes in a circle: a full
//! device stops the writers one after the other, then the readers, and in the end the Ethernet reader
//! finds its channel full and drops, counted, as a network card does. The one arrow back, what this host
//! sends to itself, never waits and drops too. Applications wait for room before the TCP writer. Tasks run
//! on a seventh thread, since they may wait like any application.
//!
//! Each stage looks for work for a short while before it sleeps. Several device queues get a pipeline each.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use outlive_driver::Queue;
use parking_lot::Mutex;

use super::build::StartError;
use super::clock;
use super::config::Config;
use super::egress::Egress;
use super::executor::Executor;
use super::parker::{Parker, Parking, Turn};
use super::pipeline_stages::{
    EthernetReaderStage, EthernetWriterStage, Input, IpReaderStage, IpWriterStage, Stage,
    TransportReaderStage, TransportWriterStage,
};
use super::poller::{self, Interest};
use super::stages::{Core, Readers, Writers};
use super::timers::Timers;
use super::wake::Wake;
use super::work::{Harvest, Work};
use crate::counters::Counter;
use crate::ip::{self, RxPacket, TxDatagram};
use crate::socket::{Runtime, WaitError};
use crate::tcp::{Connection, FourTuple};
use crate::time::Instant;

/// What all threads of a pipeline know.
pub(super) struct Shared {
    pub(super) core: Arc<Core>,
    pub(super) poll_for: Duration,
    pub(super) batch_frames: usize,
    /// Stages that are to end, counted in the direction of the arrows.
    pub(super) stopping: AtomicUsize,
    /// The bells of the threads that sleep in poll(2).
    pub(super) ethernet_reader: Wake,
    pub(super) ethernet_writer: Wake,
    /// Sleeps of the stages that sleep on a channel.
    pub(super) channel_sleeps: AtomicU64,
    /// The Ethernet writer holds frames that the device did not take yet.
    pub(super) sending: AtomicBool,
}

impl Shared {
    pub(super) fn is_stopping(&self, stage: Stage) -> bool {
        self.stopping.load(Ordering::Acquire) > stage as usize
    }
}

/// The channels into the stages.
struct Channels {
    ip_reader: Sender<Vec<RxPacket>>,
    transport_reader: Sender<ip::Outcome>,
    transport_writer: Sender<Input>,
    ip_writer: Sender<Vec<TxDatagram>>,
    ethernet_writer: Sender<Work>,
}

impl Channels {
    fn are_empty(&self) -> bool {
        self.transport_writer.is_empty()
            && self.ip_writer.is_empty()
            && self.ethernet_writer.is_empty()
    }

    /// Gets a stage to look whether it is to end. A full channel needs no sentinel: its stage is awake.
    fn nudge(&self, stage: Stage, shared: &Shared) {
        match stage {
            Stage::EthernetReader => shared.ethernet_reader.wake(),
            Stage::IpReader => drop(self.ip_reader.try_send(Vec::new())),
            Stage::TransportReader => {
                drop(self.transport_reader.try_send(ip::Outcome::default()));
            }
            Stage::TransportWriter => {
                let nothing = Input::Harvest(Harvest::default());
                drop(self.transport_writer.try_send(nothing));
            }
            Stage::IpWriter => drop(self.ip_writer.try_send(Vec::new())),
            Stage::EthernetWriter => {
                drop(self.ethernet_writer.try_send(Work::default()));
                shared.ethernet_writer.wake();
            }
        }
    }
}

/// The pipeline of one device queue.
struct Line {
    shared: Arc<Shared>,
    channels: Channels,
    threads: Mutex<Vec<(Stage, JoinHandle<()>)>>,
}

/// The pipelines of a stack.
pub(crate) struct Pipeline {
    lines: Vec<Line>,
    parking: Parking,
    tasks: Arc<Tasks>,
    task_thread: Mutex<Option<JoinHandle<()>>>,
    hasher: RandomState,
    poll_for: Duration,
}

/// The thread that runs tasks.
struct Tasks {
    executor: Executor,
    bell: Arc<Wake>,
    stopping: AtomicBool,
}

impl Tasks {
    fn run(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            let turn = Turn::begin(std::ptr::from_ref(self).addr());
            let ran = self.executor.run();
            drop(turn);
            if ran {
                continue;
            }
            self.bell.begin_sleep();
            if !self.executor.has_work() && !self.stopping.load(Ordering::Acquire) {
                // Fails only for lack of kernel memory: then this looks again at once.
                let _ = poller::wait(&self.bell, Interest::default(), clock::now(), None);
            }
            self.bell.end_sleep();
        }
    }
}

impl Pipeline {
    /// Starts the threads of a pipeline for each queue.
    pub(crate) fn start(
        core: &Arc<Core>,
        queues: Vec<((Readers, Writers), Queue)>,
        config: &Config,
        now: Instant,
    ) -> Result<Self, StartError> {
        let bell = Arc::new(Wake::new()?);
        let ring = Arc::clone(&bell);
        let tasks = Arc::new(Tasks {
            executor: Executor::new(Arc::new(move || ring.wake())),
            bell,
            stopping: AtomicBool::new(false),
        });
        let lines = queues
            .into_iter()
            .map(|(stages, device)| Line::start(core, stages, device, config, now))
            .collect::<Result<_, _>>()?;
        let runner = Arc::clone(&tasks);
        let task_thread = spawn("outlive-tasks", move || runner.run())?;
        Ok(Self {
            lines,
            parking: Parking::default(),
            tasks,
            task_thread: Mutex::new(Some(task_thread)),
            hasher: RandomState::new(),
            poll_for: config.poll_for,
        })
    }

    fn line(&self, flow: Option<&FourTuple>) -> &Line {
        match (flow, self.lines.as_slice()) {
            (_, [only]) => only,
            (None, lines) => &lines[0],
            (Some(flow), lines) => &lines[self.hasher.hash_one(flow) as usize % lines.len()],
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

impl Line {
    fn start(
        core: &Arc<Core>,
        (readers, writers): (Readers, Writers),
        device: Queue,
        config: &Config,
        now: Instant,
    ) -> Result<Self, StartError> {
        if device.receive.wait_fd().is_none() {
            return Err(StartError::NotWaitable);
        }
        let shared = Arc::new(Shared {
            core: Arc::clone(core),
            poll_for: config.poll_for,
            batch_frames: config.batch_frames,
            stopping: AtomicUsize::new(0),
            ethernet_reader: Wake::new()?,
            ethernet_writer: Wake::new()?,
            channel_sleeps: AtomicU64::new(0),
            sending: AtomicBool::new(false),
        });
        let room = config.channel_batches;
        let (to_ip_reader, ip_packets) = bounded(room);
        let (to_transport_reader, datagrams) = bounded(room);
        let (to_transport_writer, inputs) = bounded(room);
        let (to_ip_writer, outgoing) = bounded(room);
        let (to_ethernet_writer, work) = bounded(room);
        let channels = Channels {
            ip_reader: to_ip_reader,
            transport_reader: to_transport_reader,
            transport_writer: to_transport_writer,
            ip_writer: to_ip_writer,
            ethernet_writer: to_ethernet_writer,
        };
        let ethernet_reader = EthernetReaderStage {
            device: device.receive,
            stage: readers.ethernet,
            permit: readers.permit,
            up: channels.ip_reader.clone(),
            replies: channels.ethernet_writer.clone(),
        };
        let ip_reader = IpReaderStage {
            stage: readers.ip,
            input: ip_packets,
            up: channels.transport_reader.clone(),
            replies: channels.ip_writer.clone(),
        };
        let transport_reader = TransportReaderStage {
            stage: readers.transport,
            input: datagrams,
            down: channels.transport_writer.clone(),
        };
        let transport_writer = TransportWriterStage {
            stage: writers.transport,
            input: inputs,
            timers: Timers::new(now, Arc::clone(&core.tcp)),
            down: channels.ip_writer.clone(),
        };
        let ip_writer = IpWriterStage {
            stage: writers.ip,
            input: outgoing,
            down: channels.ethernet_writer.clone(),
            loopback: channels.ip_reader.clone(),
        };
        let counters = Arc::clone(&core.counters);
        let permit = Arc::clone(&config.permit);
        let ethernet_writer = EthernetWriterStage {
            device: device.transmit,
            stage: writers.ethernet,
            host: writers.host,
            input: work,
            egress: Egress::new(permit, counters, config.egress_frames),
        };
        let mut threads = Vec::new();
        macro_rules! start {
            ($stage:ident, $name:literal, $value:ident) => {
                let shared = Arc::clone(&shared);
                let thread = spawn($name, move || $value.run(&shared))?;
                threads.push((Stage::$stage, thread));
            };
        }
        start!(EthernetReader, "outlive-eth-rx", ethernet_reader);
        start!(IpReader, "outlive-ip-rx", ip_reader);
        start!(TransportReader, "outlive-tcp-rx", transport_reader);
        start!(TransportWriter, "outlive-tcp-tx", transport_writer);
        start!(IpWriter, "outlive-ip-tx", ip_writer);
        start!(EthernetWriter, "outlive-eth-tx", ethernet_writer);
        Ok(Self {
            shared,
            channels,
            threads: Mutex::new(threads),
        })
    }

    /// Ends the stages one after the other in the direction of the arrows, each with its channel empty.
    fn stop(&self) {
        let own = thread::current().id();
        for (stage, thread) in std::mem::take(&mut *self.threads.lock()) {
            self.shared
                .stopping
                .store(stage as usize + 1, Ordering::Release);
            self.channels.nudge(stage, &self.shared);
            // The last handle may be dropped by a waker, on the very thread that is to end.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!(?stage, "a thread of the stack panicked");
            }
        }
    }
}

impl Runtime for Pipeline {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn output(&self, connection: &Arc<Connection>) {
        if connection.schedule() {
            let input = Input::Connection(Arc::clone(connection));
            // Fails when the stack has stopped.
            let _ = self
                .line(Some(&connection.id))
                .channels
                .transport_writer
                .send(input);
        }
    }

    fn send(&self, datagram: TxDatagram) -> bool {
        let input = Input::Datagram(Box::new(datagram));
        self.line(None)
            .channels
            .transport_writer
            .try_send(input)
            .is_ok()
    }

    fn wait(
        &self,
        _flow: Option<&FourTuple>,
        _may_drive: bool,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Result<(), WaitError> {
        Parker::look_first(poll, |parker, poll| {
            self.parking.wait(parker, self.poll_for, deadline, poll)
        })
    }

    fn executor(&self, _flow: Option<&FourTuple>) -> &Executor {
        &self.tasks.executor
    }

    fn wake_at(&self, deadline: Instant, waker: Waker) {
        let input = Input::Timer(deadline, waker);
        // Fails when the stack has stopped.
        let _ = self.line(None).channels.transport_writer.send(input);
    }

    fn inject(&self, packets: Vec<RxPacket>) {
        let line = self.line(None);
        let count = packets.len() as u64;
        if line.channels.ip_reader.try_send(packets).is_err() {
            let counters = &line.shared.core.counters;
            counters.add(Counter::EthernetDropBehind, count);
        }
    }

    fn look_at_neighbours(&self) {
        let work = Work {
            neighbours_due: true,
            ..Work::default()
        };
        // Fails when the stack has stopped.
        let _ = self.line(None).channels.ethernet_writer.send(work);
    }

    fn is_flushed(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.channels.are_empty() && !line.shared.sending.load(Ordering::Acquire))
    }

    fn stop(&self) {
        self.parking.stop();
        for line in &self.lines {
            line.stop();
        }
        self.tasks.stopping.store(true, Ordering::Release);
        self.tasks.bell.wake();
        let task_thread = self.task_thread.lock().take();
        if let Some(thread) = task_thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the tasks panicked");
        }
        self.tasks.executor.clear();
    }

    fn sleeps_and_rings(&self) -> (u64, u64) {
        let mut totals = (self.tasks.bell.sleeps(), self.tasks.bell.rings());
        for line in &self.lines {
            let shared = &line.shared;
            totals.0 += shared.channel_sleeps.load(Ordering::Relaxed);
            for bell in [&shared.ethernet_reader, &shared.ethernet_writer] {
                totals.0 += bell.sleeps();
                totals.1 += bell.rings();
            }
        }
        totals
    }
}
