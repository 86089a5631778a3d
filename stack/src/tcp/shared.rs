//! What all readers, writers and sockets of one stack's TCP share, and the calls that create connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::challenge_limit::ChallengeLimit;
use super::config::{Config, ListenOptions, SocketOptions};
use super::fast_open::{FastOpenCookies, FastOpening};
use super::gate::Gate;
use super::isn::IsnGenerator;
use super::listener::Listener;
use super::listeners::Listeners;
use super::memory::Memory;
use super::ports::Ports;
use super::pressure::Pressure;
use super::settings::Parameters;
use super::state::State;
use super::table::Table;
use super::tcb::Tcb;
use super::time_wait::TimeWaitQueue;
use super::{Connection, Error, FourTuple, Segment};
use crate::counters::{Counter, Counters};
use crate::ip::{Ip, Path};
use crate::keyed::Keyed;
use crate::random::Random;
use crate::replication::Survival;
use crate::time::Instant;

/// The TCP of one stack.
pub struct Tcp {
    pub(super) config: Arc<Config>,
    pub(super) ip: Arc<Ip>,
    pub(super) counters: Arc<Counters>,
    pub(super) table: Table,
    pub(super) listeners: Listeners,
    pub(super) isn: IsnGenerator,
    pub(super) gate: Option<Arc<dyn Gate>>,
    pub(super) half_open: AtomicUsize,
    /// Until when (in nanoseconds) unknown segments are met with silence.
    pub(super) hushed_until: AtomicU64,
    pub(super) pressure: Pressure,
    pub(super) challenges: ChallengeLimit,
    pub(super) memory: Memory,
    pub(super) fast_open: FastOpenCookies,
    /// Connections accepted with the data of their SYN whose handshake is not over.
    pub(super) early: AtomicUsize,
    time_wait: TimeWaitQueue,
    ports: Ports,
}

impl Tcp {
    /// Nothing listens, nobody is connected. `secret` keys everything that peers must not guess; stacks
    /// that may take over from each other share it.
    #[must_use]
    pub fn new(
        config: Config,
        secret: [u8; 16],
        mut random: Random,
        ip: Arc<Ip>,
        counters: Arc<Counters>,
    ) -> Self {
        // The tables need not be the same on a backup.
        let local = Keyed::new(secret).derive(random.next_u64());
        Self {
            ports: Ports::new(config.ephemeral_ports.clone(), local.derive(1)),
            table: Table::new(&local.derive(2)),
            listeners: Listeners::new(local.derive(3)),
            isn: IsnGenerator::new(secret),
            pressure: Pressure::new(
                config
                    .cookie_secret
                    .map_or(*local.derive(4).secret(), |it| it.0),
                &local.derive(5),
            ),
            challenges: ChallengeLimit::new(config.challenges_per_second_per_host, local.derive(6)),
            memory: Memory::new(config.max_queue_bytes),
            fast_open: FastOpenCookies::new(&local.derive(7), config.fast_open_secret),
            early: AtomicUsize::new(0),
            gate: None,
            half_open: AtomicUsize::new(0),
            hushed_until: AtomicU64::new(0),
            time_wait: TimeWaitQueue::new(config.max_time_wait),
            config: Arc::new(config),
            ip,
            counters,
        }
    }

    /// Has every decision of every connection that its listener wants protected committed by `gate` before
    /// its effect leaves.
    #[must_use]
    pub fn with_gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// The choices that hold for all connections.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Accepts connections to `local`; an unspecified address stands for all of ours, port 0 for any
    /// that is free.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`], [`Error::AddressInUse`], [`Error::PortsExhausted`].
    pub fn listen(
        &self,
        local: SocketAddr,
        options: ListenOptions,
    ) -> Result<Arc<Listener>, Error> {
        let address = local.ip();
        if !address.is_unspecified() && !self.ip.may_be_bound(address) {
            return Err(Error::AddressNotAvailable);
        }
        if local.port() != 0 {
            return self.listeners.add(local, options);
        }
        let mut chosen = None;
        self.ports
            .choose(address, SocketAddr::new(address, 0), |port| {
                let local = SocketAddr::new(address, port);
                chosen = self.listeners.add(local, options.clone()).ok();
                chosen.is_some()
            });
        chosen.ok_or(Error::PortsExhausted)
    }

    /// Accepts no more on `listener` and resets what nobody accepted. The writer has to look at the
    /// connections returned.
    pub fn close_listener(&self, listener: &Arc<Listener>) -> Vec<Arc<Connection>> {
        self.listeners.remove(listener);
        let (orphans, wakers) = listener.close();
        for connection in &orphans {
            if connection.end_half_open() {
                self.half_open.fetch_sub(1, Ordering::Relaxed);
            }
            connection.tcb.lock().abort();
        }
        for waker in wakers {
            waker.wake();
        }
        orphans
    }

    /// [`Tcp::close_listener`] for all of them.
    pub fn close_listeners(&self) -> Vec<Arc<Connection>> {
        let listeners = self.listeners.all();
        let orphans = listeners.iter().flat_map(|it| self.close_listener(it));
        orphans.collect()
    }

    /// Active open (RFC 9293 §3.10.1) to `remote`, from `local` if given (port 0: any). The writer has to
    /// look at the connection, then its SYN leaves.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], [`Error::AddressNotAvailable`], [`Error::NoRoute`],
    /// [`Error::AddressInUse`], [`Error::PortsExhausted`].
    pub fn connect(
        &self,
        now: Instant,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<Arc<Connection>, Error> {
        let to = remote.ip();
        if to.is_unspecified()
            || to.is_multicast()
            || self.ip.is_broadcast(to)
            || remote.port() == 0
        {
            return Err(Error::InvalidAddress);
        }
        let from = local
            .map(|local| local.ip())
            .filter(|ip| !ip.is_unspecified());
        if from.is_some_and(|from| !self.ip.is_local(from)) {
            return Err(Error::AddressNotAvailable);
        }
        if self.table.len() >= self.config.max_connections {
            return Err(Error::PortsExhausted);
        }
        let path = self.ip.path(to, from).map_err(|_| Error::NoRoute)?;
        let options = Arc::new(options);
        let open = |port| {
            let id = FourTuple::new(SocketAddr::new(path.source, port), remote);
            // What is sent to itself is dropped as a land attack.
            if id.local_addr() == remote || self.table.contains(&id) {
                return None;
            }
            let parameters =
                self.parameters(&id, path, Arc::clone(&options), Survival::Unprotected);
            let mut tcb = Tcb::connect(parameters, now, self.isn.isn(now, &id));
            if options.fast_open
                && let Some(offer) = self.fast_open.offer_for(now, to)
            {
                tcb.open_actively_fast(offer, &options);
            }
            let connection = Arc::new(Connection::new(id, tcb));
            self.table.insert(&connection).then_some(connection)
        };
        let connection = match local.map_or(0, |local| local.port()) {
            0 => {
                let mut opened = None;
                self.ports.choose(path.source, remote, |port| {
                    if !self.listeners.listens(path.source, port) {
                        opened = open(port);
                    }
                    opened.is_some()
                });
                opened.ok_or(Error::PortsExhausted)?
            }
            port => open(port).ok_or(Error::AddressInUse)?,
        };
        self.counters.count(Counter::TcpActiveOpens);
        Ok(connection)
    }

    /// A half-open connection from `syn`; none if its name is taken.
    pub(super) fn open_half(
        &self,
        now: Instant,
        id: &FourTuple,
        path: Path,
        listener: &Listener,
        syn: &Segment,
        iss_after: Option<u32>,
    ) -> Option<Arc<Connection>> {
        let iss = match iss_after {
            Some(last) => self.isn.isn_beyond(now, id, last),
            None => self.isn.isn(now, id),
        };
        let parameters = self.parameters(id, path, listener.socket(), listener.survival);
        let mut tcb = Tcb::accept(parameters, now, iss, syn);
        let fast_opening = self.fast_opening(id, listener, syn);
        let early = fast_opening.as_ref().is_some_and(|it| it.early);
        if let Some(fast_opening) = fast_opening {
            tcb.open_fast(fast_opening, syn);
        }
        let connection = Arc::new(if early {
            Connection::new_early(*id, tcb)
        } else {
            Connection::new_half_open(*id, tcb)
        });
        if !self.table.insert(&connection) {
            return None;
        }
        if early {
            self.early.fetch_add(1, Ordering::Relaxed);
            self.counters.count(Counter::TcpFastOpens);
        } else {
            self.half_open.fetch_add(1, Ordering::Relaxed);
            listener.add_half_open(&connection);
        }
        self.counters.count(Counter::TcpPassiveOpens);
        Some(connection)
    }

    pub(super) fn parameters(
        &self,
        id: &FourTuple,
        path: Path,
        options: Arc<SocketOptions>,
        survival: Survival,
    ) -> Parameters {
        let terms = self.gate.as_ref().and_then(|_| survival.terms());
        let config = options.protocol.as_ref().unwrap_or(&self.config);
        Parameters {
            config: Arc::clone(config),
            options,
            path,
            timestamp_offset: self.isn.timestamp_offset(id),
            gated: terms.is_some(),
            terms: terms.unwrap_or_default(),
        }
    }

    /// Forgets a connection that is closed, or whose place another takes.
    pub(super) fn remove(&self, connection: &Arc<Connection>) {
        if self.table.remove(connection)
            && let Some(gate) = &self.gate
        {
            let number = connection.tcb.lock().gate_number();
            if number != 0 {
                gate.forget(number);
            }
        }
        if connection.end_half_open() {
            self.half_open.fetch_sub(1, Ordering::Relaxed);
            self.listeners.forget(&connection.id);
        }
        if connection.end_early() {
            self.early.fetch_sub(1, Ordering::Relaxed);
        }
        self.memory.account(connection, 0);
    }

    /// What a SYN that has to do with Fast Open is answered (RFC 7413 §4.2.2).
    fn fast_opening(
        &self,
        id: &FourTuple,
        listener: &Listener,
        syn: &Segment,
    ) -> Option<FastOpening> {
        // Whoever takes over would not know of data that came before the record.
        if !listener.opens_fast() || listener.survival.is_on() {
            return None;
        }
        let cookie = syn.options.fast_open.as_ref();
        let to_all = listener.opens_fast_to_all() && (cookie.is_some() || !syn.payload.is_empty());
        let key = listener.fast_open_key();
        if !to_all && !self.fast_open.is_good(id, key, cookie?) {
            return Some(FastOpening {
                option: Some(self.fast_open.give(id, key)),
                experiment: syn.options.fast_open_experiment,
                ..FastOpening::default()
            });
        }
        // §5.1: whoever has many cookies cannot fill the memory with what he never meant to receive.
        let room = self.early.load(Ordering::Relaxed) < self.config.max_fast_open;
        room.then(|| FastOpening {
            early: true,
            ..FastOpening::default()
        })
    }

    /// A connection entered TIME-WAIT; if there are too many, the oldest leaves.
    pub(super) fn enter_time_wait(&self, connection: &Arc<Connection>) {
        if !connection.begin_time_wait() {
            return;
        }
        if let Some(oldest) = self.time_wait.add(connection)
            && state_of(&oldest) == State::TimeWait
        {
            self.counters.count(Counter::TcpTimeWaitEvicted);
            oldest.tcb.lock().abort();
            self.remove(&oldest);
        }
    }

    /// The connection of that name.
    #[must_use]
    pub fn connection(&self, id: &FourTuple) -> Option<Arc<Connection>> {
        self.table.get(id)
    }

    /// All connections there are now, in no order.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.table.snapshot()
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when every connection is over: what is left only sits out its TIME-WAIT.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let over = |it| matches!(state_of(it), State::Closed | State::TimeWait);
        self.is_empty() || self.connections().iter().all(over)
    }
}

fn state_of(connection: &Arc<Connection>) -> State {
    connection.tcb.lock().state()
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp")
            .field("connections", &self.len())
            .finish_non_exhaustive()
    }
}
