//! Asynchronous TCP connections.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::engine::{Stack, Task};
use crate::replication::{Continuation, Identity, Reason};
use crate::socket::Info;
use crate::socket::handle::{self, Handle, send_part};
use crate::socket::survival::send_static_part;
use crate::tcp::{KeepAlive, SocketOptions};

/// A TCP connection. Clones are the same connection; it is closed when the last is dropped. One task may
/// read while another writes.
#[derive(Clone, Debug)]
pub struct TcpStream {
    handle: Arc<Handle>,
}

impl TcpStream {
    pub(in crate::socket) const fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Refused, timed out, unreachable, or no port left.
    pub async fn connect(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        Self::connect_with(stack, None, address, None).await
    }

    /// Opens a connection from `local` (an ephemeral port of the right address if not given) with
    /// `options`.
    ///
    /// # Errors
    /// As [`TcpStream::connect`], or `local` is in use or not ours.
    pub async fn connect_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
    ) -> io::Result<Self> {
        let handle = handle::connect(stack, local, remote, options)?;
        poll_fn(|cx| handle.poll_established(cx)).await?;
        Ok(Self { handle })
    }

    /// Reads what is there, waiting for at least one byte; 0 when the peer has closed.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, into)).await
    }

    /// As [`TcpStream::read`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_recv(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.handle.poll_read(cx, |tcb| tcb.recv(into))
    }

    /// Reads without taking.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.handle.poll_read(cx, |tcb| tcb.peek(into))).await
    }

    /// Takes up to `max` received bytes as they lie in memory, without a copy; empty when the peer has
    /// closed.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        poll_fn(|cx| self.handle.poll_read(cx, |tcb| tcb.recv_bytes(max))).await
    }

    /// Writes what there is room for, waiting for room for at least one byte.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub async fn write(&self, from: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, from)).await
    }

    /// Writes everything.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub async fn write_all(&self, mut from: &[u8]) -> io::Result<()> {
        while !from.is_empty() {
            let taken = self.write(from).await?;
            from = &from[taken..];
        }
        Ok(())
    }

    /// As [`TcpStream::write`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_send(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if from.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.handle
            .poll_write(cx, |tcb| Ok(Some(tcb.send_copy(from)?).filter(|&n| n > 0)))
    }

    /// As [`TcpStream::poll_send`], from several slices.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if from.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.handle.poll_write(cx, |tcb| {
            let mut total = 0;
            for slice in from {
                let taken = tcb.send_copy(slice)?;
                total += taken;
                if taken < slice.len() {
                    break;
                }
            }
            Ok(Some(total).filter(|&total| total > 0))
        })
    }

    /// Sends `bytes` by reference, without a copy; waits until all of them have found room.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub async fn send(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            poll_fn(|cx| self.handle.poll_write(cx, |tcb| send_part(tcb, &mut bytes))).await?;
        }
        Ok(())
    }

    /// Closes one or both directions. What was written is still delivered.
    ///
    /// # Errors
    /// When there is no connection any more.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle.shutdown(how)
    }

    /// Runs `future` on the thread of the stack that this connection's frames leave from.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = &self.handle;
        handle
            .stack
            .executor_for(&handle.connection.id)
            .spawn(future)
    }

    /// The stack that this connection belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.handle.stack
    }

    /// Our end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.handle.connection.id.local_addr()
    }

    /// The peer's end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.handle.connection.id.remote_addr()
    }

    /// Nagle's algorithm off.
    pub fn set_nodelay(&self, on: bool) {
        self.handle.change(|tcb, _| tcb.set_no_delay(on));
    }

    /// Probes when the connection is idle, or not.
    pub fn set_keepalive(&self, keep_alive: Option<KeepAlive>) {
        self.handle
            .change(|tcb, now| tcb.set_keep_alive(now, keep_alive));
    }

    /// Dropping resets the connection instead of closing it properly.
    pub fn set_reset_on_drop(&self, on: bool) {
        self.handle
            .set_linger(on.then_some(std::time::Duration::ZERO));
    }

    /// Where the application goes on; none on a connection that began on this host.
    #[must_use]
    pub fn continuation(&self) -> Option<Continuation> {
        self.handle.continuation()
    }

    /// Bytes that are about to be written and that the client has already, from another host: they are
    /// discarded. Grows until the client has told where it stands.
    #[must_use]
    pub fn skippable(&self) -> u64 {
        self.handle.skippable()
    }

    /// Skips the beginning of a range of static content, as far as the client has it already, and returns
    /// how many bytes that are: they count as written. It takes as long for a gigabyte as for a byte. Waits
    /// until the client has told where it stands.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub async fn skip_static(&self, identity: Identity, range: Range<u64>) -> io::Result<u64> {
        poll_fn(|cx| self.handle.poll_skip_static(cx, identity, range.clone())).await
    }

    /// As [`TcpStream::send`], of the bytes at `offset` of the content that `identity` names. Where output is
    /// compared with what another host sent, they are named and not read.
    ///
    /// # Errors
    /// As [`TcpStream::send`].
    pub async fn send_static(
        &self,
        mut bytes: Bytes,
        identity: Identity,
        mut offset: u64,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            poll_fn(|cx| {
                self.handle.poll_write(cx, |tcb| {
                    send_static_part(tcb, &mut bytes, identity, &mut offset)
                })
            })
            .await?;
        }
        Ok(())
    }

    /// The value of something that does not follow from the input: a clock, a random number, the state of
    /// a disk. It is logged, and what is written afterwards waits until it is committed; a handler that
    /// repeats on another host is given the logged value. Handlers must ask in the same order.
    pub async fn decide(&self, value: impl FnOnce() -> Bytes) -> Bytes {
        let mut value = Some(value);
        poll_fn(|cx| self.handle.poll_decide(cx, &mut value)).await
    }

    /// Ready when another host's handler decided something before the client's next byte came: a handler
    /// that waits for input with a time-out, and logs by [`TcpStream::decide`] that it came, waits for this as
    /// well, and then takes it for the time-out. Never ready on a connection that does not repeat.
    pub async fn decided(&self) {
        poll_fn(|cx| self.handle.poll_decided(cx)).await;
    }

    /// Ready when `timer` is, which runs only on the host that serves the client. Whoever follows along does not
    /// see when the client's bytes come, only when they are told, and so has no patience to lose; should it take
    /// over, it has all of it from then on. For a time-out after which a connection is ended.
    pub async fn patience(&self, timer: impl Future<Output = ()>) {
        poll_fn(|cx| self.handle.poll_leads(cx)).await;
        timer.await;
    }

    /// A time-out of a handler that waits for input, and then logs by [`TcpStream::decide`] that it did not
    /// come: [`TcpStream::patience`] runs out, or another host's handler ran out of its own at this place of
    /// the client's stream.
    pub async fn input_timeout(&self, timer: impl Future<Output = ()>) {
        let (mut patience, mut decided) = (pin!(self.patience(timer)), pin!(self.decided()));
        poll_fn(|cx| match decided.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => patience.as_mut().poll(cx),
        })
        .await;
    }

    /// Says that the connection could be continued from here by a fresh handler, with nothing but what comes
    /// from here on: between two requests, for example.
    pub fn quiescent(&self) {
        self.handle.quiescent();
    }

    /// Says that the connection could be continued from here by a handler that is given `state`
    /// ([`Continuation::checkpoint`]). On a mirrored connection it is the state after the next write,
    /// with which it is committed; writes of up to 64 KiB are committed whole.
    pub fn checkpoint(&self, state: Bytes) {
        self.handle.checkpoint(state);
    }

    /// Says that no other host can continue this connection, from here on.
    pub fn unprotect(&self, reason: Reason) {
        self.handle.unprotect(reason);
    }

    /// What Linux tells as `TCP_INFO`.
    #[must_use]
    pub fn info(&self) -> Info {
        self.handle.info()
    }
}
