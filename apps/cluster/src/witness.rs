//! The witness: a third voter, which serves nobody and decides who of the two servers may.
//!
//! It has the membership and its memory, heartbeats, and nothing else.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::config::Config;
use crate::control::{self, Controlled};
use crate::id::{Channel, HostId};
use crate::keeper::Keeper;
use crate::link::{Handler, Links};
use crate::membership::{self, StartError};
use crate::report::{Report, Role};
use crate::runtime::{Host, Runtime};
use crate::status;
use crate::storage::StateFolder;
use outlive::engine::clock;
use outlive::replication::Storage;
use outlive::replication::membership::{Membership, Output, Queue};
use outlive::replication::message::Message;
use outlive::time::Instant;

/// A running witness.
pub struct Witness {
    host: Arc<Voter>,
    runtime: Runtime,
}

/// What the threads share.
struct Voter {
    config: Config,
    links: Arc<Links>,
    keeper: Arc<Keeper>,
    state: Mutex<State>,
}

struct State {
    membership: Membership,
    outputs: Vec<Output>,
    queue: Queue,
    /// The memory could not be stored: nothing may be said any more.
    failed: bool,
}

impl Witness {
    /// Starts a witness.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn start(config: Config) -> Result<Self, StartError> {
        if !config.is_witness() {
            return Err(StartError::Role(format!(
                "{}: me = {} is a server; the witness is host 2 (--me 2)",
                config.path.display(),
                config.me.0
            )));
        }
        let folder = StateFolder::open(&config.state_dir)?;
        let durable = membership::load(&folder)?;
        let links = membership::links(&config)?;
        let options = membership::options(&config)?;
        let host = Arc::new(Voter {
            links: Arc::clone(&links),
            keeper: membership::keeper(folder)?,
            state: Mutex::new(State {
                membership: Membership::new(options, durable, clock::now()),
                outputs: Vec::new(),
                queue: Queue::new(&durable),
                failed: false,
            }),
            config,
        });
        let voter = Arc::downgrade(&host);
        host.keeper.tell(move |outcome| {
            if let Some(voter) = voter.upgrade() {
                voter.stored(&outcome);
            }
        });
        control::listen(
            &host.config.state_dir,
            Arc::clone(&host) as Arc<dyn Controlled>,
        )?;
        let served: Arc<dyn Host> = Arc::clone(&host) as Arc<dyn Host>;
        let runtime = Runtime::start(&links, &served)?;
        Ok(Self { host, runtime })
    }

    /// Ends it.
    pub fn stop(&self) {
        self.runtime.stop();
    }

    /// What happened on the links.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.host.links.counters().non_zero()
    }
}

impl Voter {
    /// Does what is due and what the membership wants done, in order.
    fn turn(&self, state: &mut State, now: Instant) {
        state.membership.poll(now, &mut state.outputs);
        let mut outputs = std::mem::take(&mut state.outputs);
        for output in outputs.drain(..) {
            if let Some(output) = state.queue.admit(output) {
                self.carry_out(state, &output);
            }
        }
        state.outputs = outputs;
    }

    /// A vote is stored, or could not be.
    fn stored(&self, outcome: &io::Result<()>) {
        let mut state = self.state.lock();
        state.queue.stored();
        state.note(outcome);
        while let Some(output) = state.queue.due() {
            self.carry_out(&mut state, &output);
        }
    }

    fn carry_out(&self, state: &mut State, output: &Output) {
        if state.failed {
            return;
        }
        match output {
            Output::Persist(durable) => match self.keeper.store(durable) {
                Poll::Ready(outcome) => state.note(&outcome),
                Poll::Pending => state.queue.storing(),
            },
            Output::Send { to, path, message } => {
                let bytes = Message::Membership(*message).to_bytes();
                self.links.send(*to, Channel::Heartbeat(*path), bytes);
            }
            Output::View(view) => tracing::info!(%view, "a new view"),
            Output::Up(host) => tracing::info!(%host, "up"),
            Output::Down(host) => tracing::warn!(%host, "down"),
            Output::Path { host, path, up } => {
                tracing::info!(%host, path = path.0, up, "a path changed");
            }
            Output::Restarted(host) => tracing::info!(%host, "started again"),
            Output::Lease(_) | Output::Fence(_) | Output::Clock { .. } => {}
        }
    }
}

impl State {
    fn note(&mut self, outcome: &io::Result<()>) {
        if let Err(error) = outcome {
            tracing::error!(%error, "a vote cannot be stored: this witness votes no more; make room and start it again");
            self.failed = true;
        }
    }
}

impl Handler for Voter {
    fn received(&self, from: HostId, channel: Channel, message: Bytes) {
        let Channel::Heartbeat(path) = channel else {
            return;
        };
        match Message::decode(message) {
            Ok(Message::Membership(message)) => {
                let now = clock::now();
                let mut state = self.state.lock();
                state.membership.receive(now, from, path, &message);
                self.turn(&mut state, now);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%from, %error, "refused message"),
        }
    }

    fn connected(&self, _: HostId, _: bool) {}

    fn process_died(&self, peer: HostId) {
        self.state
            .lock()
            .membership
            .process_died(clock::now(), peer);
    }
}

impl Host for Voter {
    fn beat(&self, now: Instant) -> bool {
        self.turn(&mut self.state.lock(), now);
        false
    }

    fn next_beat(&self, now: Instant) -> Instant {
        self.state.lock().membership.next_deadline(now)
    }

    fn work(&self, _: Instant) {}

    fn next_work(&self, _: Instant) -> Instant {
        Instant::FAR_FUTURE
    }

    fn stood_still(&self, _duration: Duration) {}
}

impl Controlled for Voter {
    fn report(&self) -> Report {
        let state = self.state.lock();
        let peers = status::peers(&self.config, &self.links, |host, path| {
            let mut paths = state.membership.paths(host);
            paths.any(|(known, up)| known == path && up)
        });
        Report {
            peers,
            ..status::report(
                &self.config,
                &self.links,
                Role::Witness,
                &state.membership.view(),
            )
        }
    }

    fn handover(&self) -> Result<String, String> {
        Err("this is the witness, which has nothing to hand over; ask a server".into())
    }
}
