//! One socket: what it is bound to, what became of it, what was chosen for it.

use std::net::SocketAddr;
use std::sync::Arc;

use outlive::socket::Direct;
use outlive::tcp::{Connection, Error, Listener, SocketOptions, State, Tcb};
use parking_lot::Mutex;

use crate::address::Family;
use crate::choices::Choices;
use crate::errno::{Errno, Result};
use crate::error_queue::ErrorQueue;

/// A TCP socket.
pub(crate) struct Socket {
    pub(crate) inner: Mutex<Inner>,
}

/// Everything about a socket; locked for the time of a call, never while waiting.
pub(crate) struct Inner {
    pub(crate) family: Family,
    pub(crate) nonblocking: bool,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) phase: Phase,
    pub(crate) choices: Choices,
    /// The error of the connection was told: by a call that failed, or by `SO_ERROR`.
    pub(crate) told: bool,
    /// A `connect` that found the connection open has returned.
    pub(crate) connected: bool,
    /// Somebody found no room to write, and is to be told when there is (Linux's `SOCK_NOSPACE`).
    pub(crate) wants_room: bool,
    /// How often that came about.
    pub(crate) room_came: u64,
    pub(crate) errors: ErrorQueue,
}

/// What became of a socket.
pub(crate) enum Phase {
    Fresh,
    Listening(Arc<Listener>),
    Connected(Arc<Connection>),
}

impl Socket {
    pub(crate) fn new(family: Family, nonblocking: bool, choices: Choices) -> Arc<Self> {
        Self::with(Inner {
            family,
            nonblocking,
            local: None,
            phase: Phase::Fresh,
            choices,
            told: false,
            connected: false,
            wants_room: false,
            room_came: 0,
            errors: ErrorQueue::default(),
        })
    }

    /// The socket of a connection that `listener` accepted.
    pub(crate) fn accepted(
        listener: &Inner,
        connection: Arc<Connection>,
        nonblocking: bool,
    ) -> Arc<Self> {
        Self::with(Inner {
            family: listener.family,
            nonblocking,
            local: Some(connection.id.local_addr()),
            phase: Phase::Connected(connection),
            choices: listener.choices.clone(),
            told: false,
            connected: true,
            wants_room: false,
            room_came: 0,
            errors: ErrorQueue::default(),
        })
    }

    fn with(inner: Inner) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(inner),
        })
    }

    /// The connection, for calls that need one.
    pub(crate) fn connection(&self) -> Result<Arc<Connection>> {
        match &self.inner.lock().phase {
            Phase::Connected(connection) => Ok(Arc::clone(connection)),
            _ => Err(Errno(libc::ENOTCONN)),
        }
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.inner.lock().nonblocking
    }
}

impl Inner {
    pub(crate) fn connection(&self) -> Option<&Arc<Connection>> {
        match &self.phase {
            Phase::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    /// Acts on the connection, if there is one.
    pub(crate) fn change(&self, direct: &Direct, act: impl FnOnce(&mut Tcb)) {
        if let Some(connection) = self.connection() {
            direct.change(connection, |tcb, _| act(tcb));
        }
    }

    /// Why the connection ended, to be told once.
    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        let error = self.pending_error()?;
        self.told = true;
        Some(error)
    }

    /// Why the connection ended, while nobody was told.
    pub(crate) fn pending_error(&self) -> Option<Errno> {
        if self.told {
            return None;
        }
        let readiness = self.connection()?.tcb.lock().readiness();
        match readiness.error {
            // As Linux: a peer that had closed, and is reset by what it does not want, is a broken pipe; not if we had closed, too.
            Some(Error::Reset) if readiness.finished => Some(Errno(libc::EPIPE)),
            None if readiness.cut_short => Some(Errno(libc::ECONNRESET)),
            error => error.map(Errno::from),
        }
    }

    /// The state, as Linux sees the socket: what is in TIME-WAIT belongs to no socket any more.
    pub(crate) fn state(&self) -> State {
        match self.connection().map(|it| it.tcb.lock().state()) {
            None | Some(State::TimeWait) => State::Closed,
            Some(state) => state,
        }
    }

    /// What a connection that is opened from here starts with.
    pub(crate) fn connecting_options(&self) -> SocketOptions {
        let mut options = self.choices.tcp.clone();
        options.keep_alive = self.choices.effective_keep_alive();
        options
    }

    /// The connection that is being opened from here.
    pub(crate) fn begin(&mut self, direct: &Direct, connection: &Arc<Connection>) {
        self.local = Some(connection.id.local_addr());
        self.phase = Phase::Connected(Arc::clone(connection));
        self.told = false;
        self.connected = false;
        self.apply(direct);
    }

    /// Tells a new connection what was chosen before there was one.
    pub(crate) fn apply(&self, direct: &Direct) {
        let Some(connection) = self.connection() else {
            return;
        };
        let choices = &self.choices;
        direct.change(connection, |tcb, now| {
            tcb.set_no_delay(choices.tcp.no_delay);
            tcb.set_cork(choices.cork);
            tcb.set_user_timeout(choices.tcp.user_timeout);
            if choices.effective_keep_alive() != tcb.options().keep_alive {
                tcb.set_keep_alive(now, choices.effective_keep_alive());
            }
            if choices.tcp.send_buffer_bytes != tcb.options().send_buffer_bytes {
                tcb.set_send_buffer(choices.tcp.send_buffer_bytes);
            }
            if choices.tcp.max_pacing_rate != tcb.options().max_pacing_rate {
                tcb.set_pacing(choices.tcp.pacing, choices.tcp.max_pacing_rate);
            }
            tcb.set_ttl(choices.tcp.ttl);
            tcb.set_tos(choices.tcp.tos);
        });
    }
}
