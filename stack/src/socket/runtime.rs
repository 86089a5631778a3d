//! What sockets need of the engine: the time, a way to wait, a way to have something sent. The blocking
//! and the asynchronous face stand on this, and so run over every topology and in virtual time.

use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::engine::Executor;
use crate::ip::{RxPacket, TxDatagram};
use crate::tcp::{Connection, FourTuple};
use crate::time::Instant;

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// The deadline came first.
    TimedOut,
    /// The stack was shut down.
    Stopped,
    /// A task on a queue's own thread tried to block it, or nothing more can happen in virtual time.
    Deadlock,
}

impl From<WaitError> for io::Error {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut => Self::from(io::ErrorKind::TimedOut),
            WaitError::Stopped => Self::new(io::ErrorKind::NotConnected, "the stack was shut down"),
            WaitError::Deadlock => Self::new(
                io::ErrorKind::Deadlock,
                "waiting here would never end: use the asynchronous sockets in tasks of the stack",
            ),
        }
    }
}

/// A topology, as sockets see it.
pub(crate) trait Runtime: Send + Sync {
    /// The present time.
    fn now(&self) -> Instant;

    /// Has the writers look for something to send on `connection`, soon or before this returns.
    fn output(&self, connection: &Arc<Connection>);

    /// The same for many connections at once.
    fn output_all(&self, connections: &[Arc<Connection>]) {
        connections.iter().for_each(|it| self.output(it));
    }

    /// Sends a datagram; false when there is no room for it now.
    fn send(&self, datagram: TxDatagram) -> bool;

    /// Calls `poll` until it returns true; it is called again after the waker that it was given was
    /// woken. `flow` names the connection that is waited for, if it is one. `may_drive`: the thread may
    /// process frames itself meanwhile; those that wait for long, as listeners do, leave that to others.
    fn wait(
        &self,
        flow: Option<&FourTuple>,
        may_drive: bool,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Result<(), WaitError>;

    /// Where tasks that serve `flow` run best.
    fn executor(&self, flow: Option<&FourTuple>) -> &Executor;

    /// Wakes `waker` at `deadline`.
    fn wake_at(&self, deadline: Instant, waker: Waker);

    /// Takes datagrams that came to another host.
    fn inject(&self, packets: Vec<RxPacket>);

    /// Has the Ethernet writer look at claims and questions that are due, soon or before this returns.
    fn look_at_neighbours(&self);

    /// True when every frame handed over so far is with the device.
    fn is_flushed(&self) -> bool;

    /// Where the readers are; for [`Runtime::is_past`].
    fn turns(&self) -> Vec<u64> {
        Vec::new()
    }

    /// True when what had come up at `turns` has had all its effects, and all that was built since is with the device.
    fn is_past(&self, turns: &[u64]) -> bool {
        let _ = turns;
        self.is_flushed()
    }

    /// Stops all threads, and all waits with [`WaitError::Stopped`]; returns when they have ended.
    fn stop(&self);

    /// Times that a thread of the stack went to sleep, and times that it was woken by another one.
    fn sleeps_and_rings(&self) -> (u64, u64);
}
