//! Connections that change hosts: those that come from another one, and those that are left to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use super::gate::Terms;
use super::record::{Continuation, Record};
use super::settings::Parameters;
use super::shared::Tcp;
use super::state::State;
use super::tcb::Tcb;
use super::{Connection, Error, FourTuple};
use crate::counters::Counter;
use crate::replication::continuation::Restored;
use crate::time::Instant;

/// A connection that another host began.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Its name.
    pub id: FourTuple,
    /// What was fixed at set-up.
    pub record: Record,
    /// What is kept of it.
    pub terms: Terms,
    /// Where it goes on.
    pub continuation: Continuation,
    /// Where its application goes on.
    pub restored: Restored,
    /// Nobody can go on with it but an application that follows along: its input is not kept.
    pub shed: bool,
}

impl Tcp {
    /// Goes on with a connection of another host: it is in the table from now on, and in the accept queue
    /// of its listener unless it is over already or still half-open. The writer has to look at it.
    ///
    /// # Errors
    /// [`Error::NotConnected`] when its input was shed, [`Error::NoRoute`], [`Error::ListenerClosed`] without a listener, [`Error::AddressInUse`] if the
    /// name is taken.
    pub fn adopt(
        &self,
        now: Instant,
        adoption: Adoption,
        wakers: &mut Vec<Waker>,
    ) -> Result<Arc<Connection>, Error> {
        self.adopt_as(now, adoption, false, wakers)
    }

    pub(super) fn adopt_as(
        &self,
        now: Instant,
        adoption: Adoption,
        dormant: bool,
        wakers: &mut Vec<Waker>,
    ) -> Result<Arc<Connection>, Error> {
        let Adoption {
            id,
            record,
            terms,
            mut continuation,
            restored,
            shed,
        } = adoption;
        if shed {
            return Err(Error::NotConnected);
        }
        continuation.dormant = dormant;
        let path = self.ip.path(id.remote, Some(id.local));
        let path = path.map_err(|_| Error::NoRoute)?;
        let listener = self.listeners.find(&id);
        let listener = listener.ok_or(Error::ListenerClosed)?;
        let state = continuation.state;
        let silent = continuation.abort || state == State::TimeWait;
        let parting = continuation.parting.filter(|_| !dormant);
        let parameters = Parameters {
            config: Arc::clone(&self.config),
            options: listener.socket(),
            path,
            timestamp_offset: record.timestamps.unwrap_or_default(),
            gated: self.gate.is_some(),
            terms,
        };
        let mut tcb = Tcb::from_record(parameters, now, &record, continuation);
        if !silent {
            tcb.restore(restored);
        }
        if let Some(parting) = parting {
            tcb.take_parting(now, &parting);
        }
        let half_open = state == State::SynReceived && !silent;
        let connection = if half_open {
            Connection::new_half_open(id, tcb)
        } else {
            Connection::new(id, tcb)
        };
        let connection = Arc::new(connection);
        if !self.table.insert(&connection) {
            return Err(Error::AddressInUse);
        }
        self.counters.count(if dormant {
            Counter::TcpFollowed
        } else {
            Counter::TcpAdopted
        });
        if half_open {
            self.half_open.fetch_add(1, Ordering::Relaxed);
            listener.add_half_open(&connection);
        } else if !silent && !listener.complete(&connection, wakers) {
            self.table.remove(&connection);
            return Err(Error::ListenerClosed);
        }
        Ok(connection)
    }

    /// Brings up to date what `connection` knows of its protection, for whoever asks.
    pub(crate) fn look_at_protection(&self, connection: &Connection) {
        let Some(gate) = &self.gate else {
            return;
        };
        let number = connection.tcb.lock().gate_number();
        if number != 0 {
            let reason = gate.exposed(number);
            connection.tcb.lock().set_exposed(reason);
        }
    }

    /// Another host has all connections from now on: here they end without a word to anybody but the
    /// applications, and their gate is not asked any more. Whoever calls this has made sure that no frame
    /// leaves. Returns how many there were.
    pub fn surrender(&self, wakers: &mut Vec<Waker>) -> usize {
        let connections = self.table.snapshot();
        for connection in &connections {
            {
                let mut tcb = connection.tcb.lock();
                tcb.surrender(wakers);
                tcb.take_wakers(wakers);
            }
            self.remove(connection);
        }
        for listener in self.listeners.all() {
            listener.forget_all();
        }
        let count = connections.len();
        self.counters.add(Counter::TcpSurrendered, count as u64);
        count
    }

    /// For so long segments of connections that nobody knows are met with silence: they may belong to one
    /// that was lost with its host, or that its host had not committed (invariant 10).
    pub fn hush(&self, now: Instant, duration: Duration) {
        self.inherit_cookies(now);
        let until = (now + duration).as_nanos();
        self.hushed_until.fetch_max(until, Ordering::Relaxed);
    }

    /// True while unknown segments are met with silence.
    pub(super) fn is_hushed(&self, now: Instant) -> bool {
        now.as_nanos() < self.hushed_until.load(Ordering::Relaxed)
    }
}

impl Tcb {
    /// Another host has this connection now: it ends here without a word to the peer.
    pub(super) fn surrender(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.surviving().and_then(|it| it.waiting.take(true)));
        self.gating = None;
        self.finish(Some(Error::TakenOver));
        self.pending = super::tcb::Pending::default();
        self.receive_queue.discard();
    }
}
