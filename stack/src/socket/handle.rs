//! A connection as a socket holds it: every call locks the TCB, acts, and afterwards, with the lock
//! released, wakes whom the call concerned and lets the writers look at the connection.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::WaitError;
use super::options::{CallOptions, Direction};
use crate::engine::Stack;
use crate::tcp::info::Info;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::tcp::{Connection, Error, FourTuple};
use crate::time::Instant;

/// Shared by the clones of a stream; the last one closes the connection.
pub(super) struct Handle {
    pub(super) stack: Stack,
    pub(super) connection: Arc<Connection>,
    pub(super) calls: CallOptions,
    linger: Mutex<Option<Duration>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpStream")
            .field("addr", &self.connection.id.local_addr())
            .field("peer", &self.connection.id.remote_addr())
            .finish()
    }
}

impl Handle {
    pub(super) fn new(stack: Stack, connection: Arc<Connection>) -> Arc<Self> {
        Arc::new(Self {
            stack,
            connection,
            calls: CallOptions::default(),
            linger: Mutex::new(None),
        })
    }

    /// Acts on the TCB, then does what follows from it.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Tcb) -> R) -> R {
        on_tcb(&self.stack, &self.connection, act)
    }

    /// As [`Handle::with`], for what may have moved a timer.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut Tcb, Instant) -> R) -> R {
        let now = self.stack.now();
        let result = self.with(|tcb| act(tcb, now));
        self.stack.runtime().output(&self.connection);
        result
    }

    /// Ready when `take` gives something: `Ok(None)` means that it has to wait for the peer.
    pub(super) fn poll_read<R>(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Tcb) -> Result<Option<R>, Error>,
    ) -> Poll<io::Result<R>> {
        self.with(|tcb| {
            loop {
                match take(tcb) {
                    Ok(Some(taken)) => return Poll::Ready(Ok(taken)),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
                // Ready nevertheless: there is news of urgent data, which is read with the rest here.
                if tcb.poll_readable(cx).is_pending() || !tcb.take_urgent_news() {
                    return Poll::Pending;
                }
            }
        })
    }

    /// Ready when `put` took something: `Ok(None)` means that there is no room.
    pub(super) fn poll_write<R>(
        &self,
        cx: &mut Context<'_>,
        mut put: impl FnMut(&mut Tcb) -> Result<Option<R>, Error>,
    ) -> Poll<io::Result<R>> {
        self.with(|tcb| match put(tcb) {
            Ok(Some(taken)) => Poll::Ready(Ok(taken)),
            Ok(None) => {
                let ready = tcb.poll_writable(cx);
                debug_assert!(ready.is_pending(), "no room, and yet writable");
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error.into())),
        })
    }

    pub(super) fn poll_established(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|tcb| tcb.poll_established(cx))
            .map_err(io::Error::from)
    }

    /// Waits as the options say.
    pub(super) fn block<R>(
        &self,
        direction: Direction,
        poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        let flow = Some(&self.connection.id);
        block(&self.stack, flow, true, &self.calls, direction, poll)
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.change(|tcb, _| {
            if how != Shutdown::Write {
                tcb.shutdown_read();
            }
            if how == Shutdown::Read {
                return Ok(());
            }
            tcb.shutdown_write()
        })
        .map_err(io::Error::from)
    }

    pub(super) fn set_linger(&self, linger: Option<Duration>) {
        *self.linger.lock() = linger;
    }

    pub(super) fn linger(&self) -> Option<Duration> {
        *self.linger.lock()
    }

    pub(super) fn info(&self) -> Info {
        let tcp = &self.stack.core().tcp;
        tcp.look_at_protection(&self.connection);
        self.connection.tcb.lock().info()
    }

    /// Why the connection ended, if it did not end properly.
    pub(super) fn error(&self) -> Option<Error> {
        match self.connection.tcb.lock().send_room() {
            Err(Error::BrokenPipe) | Ok(_) => None,
            Err(error) => Some(error),
        }
    }

    fn is_delivered(&self) -> bool {
        let info = self.info();
        info.send_queue_bytes == 0
            && !matches!(
                info.state,
                State::FinWait1 | State::Closing | State::LastAck
            )
    }
}

impl Drop for Handle {
    /// As Linux: with a linger time of zero, or data left unread, the peer gets a RST; otherwise FIN
    /// follows what was written, and this waits as long as the linger time says.
    fn drop(&mut self) {
        let linger = self.linger();
        if linger == Some(Duration::ZERO) {
            return self.change(|tcb, _| tcb.abort());
        }
        self.change(Tcb::close);
        if let Some(linger) = linger {
            let deadline = self.stack.now() + linger;
            self.stack.wait_until(deadline, || self.is_delivered());
        }
    }
}

/// Acts on the TCB of `connection`, then, with the lock released, does what follows from it.
pub(super) fn on_tcb<R>(
    stack: &Stack,
    connection: &Arc<Connection>,
    act: impl FnOnce(&mut Tcb) -> R,
) -> R {
    let mut wakers = Vec::new();
    let (result, output) = {
        let mut tcb = connection.tcb.lock();
        let result = act(&mut tcb);
        tcb.take_wakers(&mut wakers);
        (result, tcb.wants_transmit())
    };
    if output {
        stack.runtime().output(connection);
    }
    wakers.into_iter().for_each(Waker::wake);
    result
}

/// Waits until `poll` is ready, as `calls` says.
pub(super) fn block<R>(
    stack: &Stack,
    flow: Option<&FourTuple>,
    may_drive: bool,
    calls: &CallOptions,
    direction: Direction,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>,
) -> io::Result<R> {
    if calls.is_nonblocking() {
        return match poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        };
    }
    let deadline = calls
        .timeout(direction)
        .map(|timeout| stack.now() + timeout);
    match wait(stack, flow, may_drive, deadline, &mut poll) {
        Ok(result) => result,
        // As Unix, where a time-out is a descriptor that would still block.
        Err(WaitError::TimedOut) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until `poll` is ready or `deadline`.
pub(super) fn wait<R>(
    stack: &Stack,
    flow: Option<&FourTuple>,
    may_drive: bool,
    deadline: Option<Instant>,
    poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<R>,
) -> Result<R, WaitError> {
    let mut result = None;
    stack.runtime().wait(flow, may_drive, deadline, &mut |cx| {
        if let Poll::Ready(value) = poll(cx) {
            result = Some(value);
        }
        result.is_some()
    })?;
    Ok(result.expect("a wait ends well only when its condition holds"))
}

/// Takes as much of `bytes` as there is room for, and leaves the rest in it.
pub(super) fn send_part(tcb: &mut Tcb, bytes: &mut Bytes) -> Result<Option<usize>, Error> {
    let taken = tcb.send(bytes.clone())?;
    bytes::Buf::advance(bytes, taken);
    Ok((taken > 0).then_some(taken))
}

/// Starts to open a connection.
pub(super) fn connect(
    stack: &Stack,
    local: Option<std::net::SocketAddr>,
    remote: std::net::SocketAddr,
    options: Option<crate::tcp::SocketOptions>,
) -> io::Result<Arc<Handle>> {
    let (handle, _) = connect_sending(stack, local, remote, options, &[])?;
    Ok(handle)
}

/// The same, with `first` written before the SYN leaves; how much of it was taken.
pub(super) fn connect_sending(
    stack: &Stack,
    local: Option<std::net::SocketAddr>,
    remote: std::net::SocketAddr,
    options: Option<crate::tcp::SocketOptions>,
    first: &[u8],
) -> io::Result<(Arc<Handle>, usize)> {
    let tcp = &stack.core().tcp;
    let options = options.unwrap_or_else(|| tcp.config().socket.clone());
    let connection = tcp.connect(stack.now(), local, remote, options)?;
    let taken = connection.tcb.lock().send_copy(first)?;
    stack.runtime().output(&connection);
    Ok((Handle::new(stack.clone(), connection), taken))
}
