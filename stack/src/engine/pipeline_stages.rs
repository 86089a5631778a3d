//! The loops of the six stage threads. Each: take a batch, run the stage, hand the result on; do what is
//! due; end when told to, with nothing left in its channel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use outlive_driver::{Receive, Transmit};

use super::clock;
use super::egress::{Egress, Permit};
use super::pipeline::Shared;
use super::poller::{self, Interest, Patience};
use super::stages::{TransportReader, TransportWriter, poll_neighbours};
use super::timers::{Due, Timers};
use super::work::{Harvest, Work};
use crate::counters::Counter;
use crate::ethernet::{self, EthernetReader, EthernetWriter};
use crate::ip::{self, IpReader, IpWriter, RxPacket, TxDatagram};
use crate::tcp::Connection;
use crate::time::Instant;

/// Inputs taken together in one turn of the TCP writer.
const INPUTS_PER_TURN: usize = 256;

/// The stages in the direction of the arrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    EthernetReader,
    IpReader,
    TransportReader,
    TransportWriter,
    IpWriter,
    EthernetWriter,
}

/// What the TCP writer is told.
pub(super) enum Input {
    /// By the reader.
    Harvest(Harvest),
    /// By an application: there may be something to send.
    Connection(Arc<Connection>),
    /// By a UDP socket.
    Datagram(Box<TxDatagram>),
    /// By a task that sleeps.
    Timer(Instant, Waker),
}

/// What a stage found to do.
enum Next<T> {
    Batch(T),
    Due,
    Stop,
}

/// The next batch: looks for a while, then sleeps until there is one or `deadline`.
fn next<T>(
    input: &Receiver<T>,
    shared: &Shared,
    stage: Stage,
    deadline: Option<Instant>,
) -> Next<T> {
    let mut patience = Patience::new(shared.poll_for);
    loop {
        match input.try_recv() {
            Ok(batch) => return Next::Batch(batch),
            Err(TryRecvError::Disconnected) => return Next::Stop,
            Err(TryRecvError::Empty) => {}
        }
        if shared.is_stopping(stage) {
            return Next::Stop;
        }
        let now = clock::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Next::Due;
        }
        if !patience.is_exhausted(now) {
            // There may be more stages than processors: let the others run.
            thread::yield_now();
            continue;
        }
        shared.channel_sleeps.fetch_add(1, Ordering::Relaxed);
        let received = match deadline {
            Some(deadline) => input.recv_timeout(deadline.since(now)),
            None => input.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(batch) => return Next::Batch(batch),
            Err(RecvTimeoutError::Timeout) => return Next::Due,
            Err(RecvTimeoutError::Disconnected) => return Next::Stop,
        }
    }
}

pub(super) struct EthernetReaderStage {
    pub(super) device: Box<dyn Receive>,
    pub(super) stage: EthernetReader,
    pub(super) permit: Arc<dyn Permit>,
    pub(super) up: Sender<Vec<RxPacket>>,
    pub(super) replies: Sender<Work>,
}

impl EthernetReaderStage {
    pub(super) fn run(mut self, shared: &Shared) {
        let mut frames = Vec::new();
        let mut outcome = ethernet::Outcome::default();
        let mut patience = Patience::new(shared.poll_for);
        while !shared.is_stopping(Stage::EthernetReader) {
            let received = match self.device.receive(&mut frames, shared.batch_frames) {
                Ok(received) => received,
                Err(error) => return tracing::error!(%error, "the device is gone"),
            };
            let now = clock::now();
            if received == 0 {
                if patience.is_exhausted(now) {
                    self.sleep(shared, now);
                    patience.reset();
                } else {
                    thread::yield_now();
                }
                continue;
            }
            patience.reset();
            if self.permit.may_receive(now) {
                self.stage.process(now, &mut frames, &mut outcome);
            } else {
                let diverts = self.permit.diverts(now);
                let diverted = self.stage.overhear(now, &mut frames, diverts, &mut outcome);
                if diverts {
                    self.permit.divert(diverted);
                }
            }
            self.hand_on(shared, &mut outcome);
        }
    }

    fn sleep(&self, shared: &Shared, now: Instant) {
        let bell = &shared.ethernet_reader;
        bell.begin_sleep();
        if !shared.is_stopping(Stage::EthernetReader) {
            let interest = Interest {
                readable: self.device.wait_fd(),
                writable: None,
            };
            // Fails only for lack of kernel memory: then this looks again at once.
            let _ = poller::wait(bell, interest, now, None);
        }
        bell.end_sleep();
    }

    fn hand_on(&self, shared: &Shared, outcome: &mut ethernet::Outcome) {
        let neighbours_due = std::mem::take(&mut outcome.announcements_due);
        if !outcome.replies.is_empty() || !outcome.released.is_empty() || neighbours_due {
            let work = Work {
                neighbours_due,
                frames: std::mem::take(&mut outcome.replies),
                packets: std::mem::take(&mut outcome.released),
                ..Work::default()
            };
            // Fails when the stack has stopped; so everywhere below.
            let _ = self.replies.send(work);
        }
        offer(&self.up, shared, std::mem::take(&mut outcome.packets));
    }
}

/// Hands packets to the IP reader if there is room, or else drops them as a network card does.
fn offer(up: &Sender<Vec<RxPacket>>, shared: &Shared, packets: Vec<RxPacket>) {
    if packets.is_empty() {
        return;
    }
    if let Err(refused) = up.try_send(packets) {
        let packets = refused.into_inner().len();
        tracing::debug!(packets, "the IP reader is behind");
        shared
            .core
            .counters
            .add(Counter::EthernetDropBehind, packets as u64);
    }
}

pub(super) struct IpReaderStage {
    pub(super) stage: IpReader,
    pub(super) input: Receiver<Vec<RxPacket>>,
    pub(super) up: Sender<ip::Outcome>,
    pub(super) replies: Sender<Vec<TxDatagram>>,
}

impl IpReaderStage {
    pub(super) fn run(mut self, shared: &Shared) {
        let mut outcome = ip::Outcome::default();
        loop {
            let deadline = self.stage.next_deadline();
            match next(&self.input, shared, Stage::IpReader, deadline) {
                Next::Batch(mut packets) => {
                    self.stage.process(clock::now(), &mut packets, &mut outcome);
                }
                Next::Due => self.stage.poll(clock::now(), &mut outcome),
                Next::Stop => return,
            }
            if !outcome.replies.is_empty() {
                let _ = self.replies.send(std::mem::take(&mut outcome.replies));
            }
            if !(outcome.tcp.is_empty() && outcome.udp.is_empty() && outcome.errors.is_empty()) {
                let _ = self.up.send(std::mem::take(&mut outcome));
            }
        }
    }
}

pub(super) struct TransportReaderStage {
    pub(super) stage: TransportReader,
    pub(super) input: Receiver<ip::Outcome>,
    pub(super) down: Sender<Input>,
}

impl TransportReaderStage {
    pub(super) fn run(mut self, shared: &Shared) {
        let mut harvest = Harvest::default();
        while let Next::Batch(mut batch) = next(&self.input, shared, Stage::TransportReader, None) {
            self.stage.run(clock::now(), &mut batch, &mut harvest);
            harvest.wake();
            if !harvest.work.is_empty() || !harvest.timers.is_empty() {
                let _ = self.down.send(Input::Harvest(std::mem::take(&mut harvest)));
            }
        }
    }
}

pub(super) struct TransportWriterStage {
    pub(super) stage: TransportWriter,
    pub(super) input: Receiver<Input>,
    pub(super) timers: Timers,
    pub(super) down: Sender<Vec<TxDatagram>>,
}

impl TransportWriterStage {
    pub(super) fn run(mut self, shared: &Shared) {
        let mut work = Work::default();
        let mut harvest = Harvest::default();
        let mut due = Due::default();
        loop {
            let deadline = if work.is_empty() {
                self.timers.next_deadline()
            } else {
                Some(Instant::ZERO)
            };
            match next(&self.input, shared, Stage::TransportWriter, deadline) {
                Next::Batch(input) => {
                    self.take(input, &mut work);
                    for _ in 0..INPUTS_PER_TURN {
                        let Ok(input) = self.input.try_recv() else {
                            break;
                        };
                        self.take(input, &mut work);
                    }
                }
                Next::Due => {}
                Next::Stop if work.is_empty() => return,
                Next::Stop => {}
            }
            let now = clock::now();
            self.timers.expire(now, &mut due);
            work.connections.append(&mut due.connections);
            harvest.wakers.append(&mut due.wakers);
            self.stage.run(now, &mut work, &mut harvest);
            for (deadline, connection) in harvest.timers.drain(..) {
                self.timers.watch(deadline, &connection);
            }
            harvest.wake();
            if !work.datagrams.is_empty() {
                let _ = self.down.send(std::mem::take(&mut work.datagrams));
            }
        }
    }

    fn take(&mut self, input: Input, work: &mut Work) {
        match input {
            Input::Harvest(mut harvest) => {
                work.connections.append(&mut harvest.work.connections);
                work.datagrams.append(&mut harvest.work.datagrams);
                for (deadline, connection) in harvest.timers {
                    self.timers.watch(deadline, &connection);
                }
            }
            Input::Connection(connection) => work.connections.push(connection),
            Input::Datagram(datagram) => work.datagrams.push(*datagram),
            Input::Timer(deadline, waker) => {
                self.timers.wake_at(deadline, waker);
            }
        }
    }
}

pub(super) struct IpWriterStage {
    pub(super) stage: IpWriter,
    pub(super) input: Receiver<Vec<TxDatagram>>,
    pub(super) down: Sender<Work>,
    pub(super) loopback: Sender<Vec<RxPacket>>,
}

impl IpWriterStage {
    pub(super) fn run(mut self, shared: &Shared) {
        let mut loopback = Vec::new();
        while let Next::Batch(mut datagrams) = next(&self.input, shared, Stage::IpWriter, None) {
            let mut work = Work::default();
            self.stage.process(
                clock::now(),
                &mut datagrams,
                &mut work.packets,
                &mut loopback,
            );
            offer(&self.loopback, shared, std::mem::take(&mut loopback));
            if !work.is_empty() {
                let _ = self.down.send(work);
            }
        }
    }
}

pub(super) struct EthernetWriterStage {
    pub(super) device: Box<dyn Transmit>,
    pub(super) stage: EthernetWriter,
    pub(super) host: Arc<ip::Ip>,
    pub(super) input: Receiver<Work>,
    pub(super) egress: Egress,
}

impl EthernetWriterStage {
    pub(super) fn run(mut self, shared: &Shared) {
        loop {
            shared.sending.store(false, Ordering::Release);
            let deadline = self.stage.next_deadline();
            match next(&self.input, shared, Stage::EthernetWriter, deadline) {
                Next::Batch(mut work) => {
                    shared.sending.store(true, Ordering::Release);
                    self.egress.frames.extend(work.frames.drain(..));
                    let now = clock::now();
                    self.stage
                        .process(now, &mut work.packets, &mut self.egress.frames);
                    if work.neighbours_due {
                        poll_neighbours(now, &mut self.stage, &self.host, &mut self.egress);
                    }
                }
                Next::Due => {
                    let now = clock::now();
                    poll_neighbours(now, &mut self.stage, &self.host, &mut self.egress);
                }
                Next::Stop => return,
            }
            if !self.drain(shared) {
                return;
            }
        }
    }

    /// Sends everything, waiting for the device while it is full; false when it is gone.
    fn drain(&mut self, shared: &Shared) -> bool {
        loop {
            match self.egress.flush(clock::now(), &mut *self.device) {
                Ok(true) => return true,
                Ok(false) if shared.is_stopping(Stage::EthernetWriter) => return false,
                Ok(false) => self.sleep(shared),
                Err(error) => {
                    tracing::error!(%error, "the device is gone");
                    return false;
                }
            }
        }
    }

    fn sleep(&self, shared: &Shared) {
        let bell = &shared.ethernet_writer;
        let interest = Interest {
            readable: None,
            writable: self.device.wait_fd(),
        };
        let now = clock::now();
        let deadline = interest
            .writable
            .is_none()
            .then(|| now + poller::FULL_RETRY);
        bell.begin_sleep();
        if !shared.is_stopping(Stage::EthernetWriter) {
            // Fails only for lack of kernel memory: then this looks again at once.
            let _ = poller::wait(bell, interest, now, deadline);
        }
        bell.end_sleep();
    }
}
